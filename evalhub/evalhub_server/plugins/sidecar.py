"""``sidecar:`` the program between adapters and everything that they talk to, as types."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from evalhub_server.plugins.sections import Duration


class SidecarLocal(Struct, kw_only=True, frozen=True):
    """Section ``sidecar.local``."""

    job_cache_sweep_interval: Annotated[
        Duration, Meta(description="For the sidecar's own file; has no effect in the server's.")
    ] = Duration(5400)
    job_cache_entry_ttl: Annotated[
        Duration, Meta(description="For the sidecar's own file; has no effect in the server's.")
    ] = Duration(7200)


class SidecarEvalHub(Struct, kw_only=True, frozen=True):
    """Section ``sidecar.eval_hub``."""

    base_url: Annotated[
        str,
        Meta(
            description="Address at which sidecars reach this server, if `EVALHUB_INSTANCE_NAME` is not set. Default: the variable `SERVICE_URL`.",
            examples=["https://evalhub.example.org:8443"],
        ),
    ] = ""
    http_timeout: Annotated[
        Duration | None,
        Meta(
            description="Time limit for one request of a sidecar to this server. Default: the sidecar's own.",
            examples=["30s"],
        ),
    ] = None
    ca_cert_path: Annotated[
        str,
        Meta(
            description="PEM file with the authority that sidecars trust for this server, if `EVALHUB_INSTANCE_NAME` is not set.",
            examples=["/etc/evalhub/ca.pem"],
        ),
    ] = ""
    insecure_skip_verify: Annotated[
        bool, Meta(description="Let sidecars accept any certificate of this server.")
    ] = False
    token: Annotated[
        str,
        Meta(
            description="Accepted for compatibility; has no effect. In a cluster, sidecars have the tokens of their pods.",
            examples=["secret"],
        ),
    ] = ""
    token_cache_timeout: Annotated[
        Duration | None,
        Meta(
            description="How long a sidecar may cache its pod's token. Default: the sidecar's own.",
            examples=["5m"],
        ),
    ] = None


class SidecarMlflow(Struct, kw_only=True, frozen=True):
    """Section ``sidecar.mlflow``."""

    tracking_uri: Annotated[
        str,
        Meta(
            description="URL of the MLflow server for sidecars. Default: `mlflow.tracking_uri`.",
            examples=["http://mlflow.example.org:5000"],
        ),
    ] = ""
    token_path: Annotated[
        str,
        Meta(
            description="Accepted for compatibility; has no effect. In a cluster, sidecars have the tokens of their pods.",
            examples=["/path/token"],
        ),
    ] = ""
    workspace: Annotated[
        str,
        Meta(
            description="Accepted for compatibility; has no effect. The tenant is the workspace.",
            examples=["team-a"],
        ),
    ] = ""
    token_cache_timeout: Annotated[
        Duration | None,
        Meta(
            description="How long a sidecar may cache its pod's token for MLflow. Default: the sidecar's own.",
            examples=["5m"],
        ),
    ] = None
    http_timeout: Annotated[
        Duration | None,
        Meta(
            description="Time limit for one request of a sidecar to MLflow. Default: `mlflow.http_timeout`.",
            examples=["30s"],
        ),
    ] = None
    ca_cert_path: Annotated[
        str,
        Meta(
            description="PEM file with the authority that sidecars trust for MLflow. Default: `mlflow.ca_cert_path`.",
            examples=["/etc/evalhub/ca.pem"],
        ),
    ] = ""


class SidecarOci(Struct, kw_only=True, frozen=True):
    """Section ``sidecar.oci``."""

    ca_cert_path: Annotated[
        str,
        Meta(
            description="PEM file with the authority that sidecars trust for registries.",
            examples=["/etc/evalhub/ca.pem"],
        ),
    ] = ""
    http_timeout: Annotated[
        Duration | None,
        Meta(
            description="Time limit for one request of a sidecar to a registry. Default: the sidecar's own.",
            examples=["5m"],
        ),
    ] = None
    allowed_realms: Annotated[
        tuple[str, ...],
        Meta(
            description="Hosts of token servers that get credentials from sidecars although their registry is of another domain. Default: Docker Hub's.",
            examples=[["auth.docker.io", "sso.example.com"]],
        ),
    ] = ()


class SidecarModel(Struct, kw_only=True, frozen=True):
    """Section ``sidecar.model``."""

    url: Annotated[
        str,
        Meta(
            description="Accepted for compatibility; has no effect. Each job names its model.",
            examples=["http://localhost:11434/v1"],
        ),
    ] = ""
    auth_secret_mount_path: Annotated[
        str,
        Meta(
            description="Accepted for compatibility; has no effect. Each job names its secret.",
            examples=["/secret"],
        ),
    ] = ""
    http_timeout: Annotated[
        Duration | None,
        Meta(
            description="Time limit for one request of a sidecar to a model. Default: `5m`.", examples=["10m"]
        ),
    ] = None
    insecure_skip_verify: Annotated[
        bool, Meta(description="Let sidecars accept any certificate of a model.")
    ] = False
    sa_token_hosts: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Hosts of models outside the cluster that get the pod's own token where no credential is named. Default: any host. An empty list: none.",
            examples=[["models.example.org"]],
        ),
    ] = None


class Amounts(Struct, kw_only=True, frozen=True):
    """Kubernetes quantities, such as ``100m`` and ``64Mi``."""

    cpu: Annotated[
        str,
        Meta(
            description="CPU, as a Kubernetes quantity. Default: `100m` requested, `200m` as limit.",
            examples=["250m"],
        ),
    ] = ""
    memory: Annotated[
        str,
        Meta(
            description="Memory, as a Kubernetes quantity. Default: `128Mi` requested, `256Mi` as limit.",
            examples=["256Mi"],
        ),
    ] = ""


class Resources(Struct, kw_only=True, frozen=True):
    """What a container asks for, and what it may have."""

    requests: Annotated[Amounts, Meta(description="What the container requests.")] = Amounts()
    limits: Annotated[Amounts, Meta(description="What the container may use at most.")] = Amounts()


class SidecarContainer(Struct, kw_only=True, frozen=True):
    """``sidecar.sidecar_container``."""

    image: Annotated[
        str,
        Meta(
            description="Image of the sidecar. Default: `eval-runtime-sidecar:latest`.",
            examples=["registry.example/evalhub:1.1.0"],
        ),
    ] = ""
    resources: Annotated[Resources, Meta(description="Resources of the sidecar's container.")] = Resources()


class InitContainer(Struct, kw_only=True, frozen=True):
    """``sidecar.init_container``."""

    is_git_job: Annotated[
        bool, Meta(description="Accepted for compatibility; has no effect. Each job names its test data.")
    ] = False


class SidecarSettings(Struct, kw_only=True, frozen=True):
    """Section ``sidecar``: the program between adapters and the services that they use."""

    base_url: Annotated[
        str,
        Meta(
            description="Address at which an adapter reaches its sidecar: http or https, with a port. Default in a cluster: `http://localhost:8080`.",
            examples=["http://localhost:8082"],
        ),
    ] = ""
    local_mode: Annotated[
        bool,
        Meta(
            description="With `--local`, adapters go through the sidecar at `sidecar.base_url`. `evalhub server start` sets it."
        ),
    ] = False
    local: Annotated[
        SidecarLocal, Meta(description="Settings of a workstation's sidecar, for the sidecar's own file.")
    ] = SidecarLocal()
    eval_hub: Annotated[SidecarEvalHub, Meta(description="How the sidecar reaches this server.")] = (
        SidecarEvalHub()
    )
    mlflow: Annotated[SidecarMlflow, Meta(description="How the sidecar reaches MLflow.")] = SidecarMlflow()
    oci: Annotated[SidecarOci, Meta(description="How the sidecar reaches registries.")] = SidecarOci()
    model: Annotated[SidecarModel, Meta(description="How the sidecar reaches models.")] = SidecarModel()
    sidecar_container: Annotated[SidecarContainer, Meta(description="The sidecar's container in a pod.")] = (
        SidecarContainer()
    )
    init_container: Annotated[InitContainer, Meta(description="The init container of a pod.")] = (
        InitContainer()
    )
    otel: Annotated[
        dict[str, Any],
        Meta(
            description="OpenTelemetry settings of the sidecar, passed on unchanged if they are `enabled`.",
            examples=[{"enabled": True}],
        ),
    ] = field(default_factory=dict[str, Any])
