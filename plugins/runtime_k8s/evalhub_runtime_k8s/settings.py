"""The configuration section ``kubernetes``, and the installation as read from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import replace

from evalhub_server.plugins import (
    Duration,
    PluginContext,
    SidecarSettings,
    Timespan,
    convert_section,
    find_section,
)

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_NAMESPACE = "default"
DEFAULT_BASE_URL = "http://localhost:8080"
UPLOAD_GRACE_S = 60
"""Default termination grace period of pods that upload samples after their adapter has exited."""


class Hardening(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Section ``kubernetes.hardening``."""

    deadline: Annotated[
        Timespan,
        Meta(description="Deadline of a Job, after which Kubernetes ends it. `0s`: none.", examples=["24h"]),
    ] = Timespan(0)
    restart_disrupted: Annotated[
        bool,
        Meta(
            description="Restart an adapter from scratch when its pod was evicted or preempted, instead of failing the benchmark. `runtime.k8s.restart_disrupted` of a provider takes precedence."
        ),
    ] = False
    logs_as_message: Annotated[
        bool, Meta(description="Use the end of a container's log as its termination message if it left none.")
    ] = False
    termination_grace: Annotated[
        Timespan,
        Meta(
            description="Grace period between SIGTERM and SIGKILL for a pod; also how long its sidecar keeps delivering events and uploading samples after the adapter has exited. `0s`: 60 seconds, or Kubernetes' 30 seconds for pods without a volume for samples.",
            examples=["300s"],
        ),
    ] = Timespan(0)
    pod_security_context: Annotated[
        bool, Meta(description="Declare for the pod, too, that it does not run as root.")
    ] = False
    read_only_root: Annotated[
        bool, Meta(description="Let adapters write to `/data`, `/shared` and `/tmp` only.")
    ] = False
    service_links: Annotated[
        bool,
        Meta(
            description="Give pods variables for every service of the namespace, as Kubernetes does by default."
        ),
    ] = True
    docker_config_in_adapter: Annotated[
        bool, Meta(description="Show adapters the registry credentials that their sidecar uses.")
    ] = True
    ephemeral_storage_request: Annotated[
        str, Meta(description="Ephemeral storage that an adapter requests.", examples=["1Gi"])
    ] = ""
    ephemeral_storage_limit: Annotated[
        str, Meta(description="Maximum ephemeral storage of an adapter.", examples=["2Gi"])
    ] = ""
    volume_size_limit: Annotated[
        str,
        Meta(
            description="Maximum size of each of the volumes `/data`, `/shared` and `/tmp` of a pod.",
            examples=["10Gi"],
        ),
    ] = ""
    network_policy: Annotated[
        bool,
        Meta(
            description="Deny ingress to job pods. Needs the right to create network policies, and has no effect without it."
        ),
    ] = False


class KubernetesSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Section ``kubernetes``: benchmarks as Jobs of a cluster."""

    ttl: Annotated[Timespan, Meta(description="How long a finished Job and its pod stay in the cluster.")] = (
        Timespan(3600)
    )
    service_account: Annotated[
        str,
        Meta(
            description="Service account of the Jobs. Default: the operator's, else the namespace's.",
            examples=["evalhub-job"],
        ),
    ] = ""
    init_env: Annotated[
        dict[str, str],
        Meta(
            description="Additional variables of the init container, which fetches test data.",
            examples=[{"HTTPS_PROXY": "http://proxy:3128"}],
        ),
    ] = {}
    sidecar_env: Annotated[
        dict[str, str],
        Meta(
            description="Additional variables of the sidecar.",
            examples=[{"HTTPS_PROXY": "http://proxy:3128"}],
        ),
    ] = {}
    poll_interval: Annotated[
        Timespan,
        Meta(
            description="Maximum interval between two looks at the Jobs of a namespace where the server may not watch them."
        ),
    ] = Timespan(15)
    exit_grace: Annotated[
        Timespan, Meta(description="How long a result may still arrive after its Job has ended.")
    ] = Timespan(10)
    image_pull_timeout: Annotated[
        Timespan,
        Meta(
            description="How long an image may fail to be pulled, or a sidecar crash, before the benchmark fails."
        ),
    ] = Timespan(300)
    container_error_timeout: Annotated[
        Timespan,
        Meta(
            description="How long a container may fail to be created, for example because of a missing secret, before the benchmark fails."
        ),
    ] = Timespan(60)
    unschedulable_notice: Annotated[
        Timespan,
        Meta(description="How long a pod may be without a node before its benchmark carries a warning."),
    ] = Timespan(120)
    node_lost_timeout: Annotated[
        Timespan,
        Meta(
            description="How long the pod of a benchmark may exist beyond its deletion, which contains its grace period, before its node counts as lost and the benchmark fails."
        ),
    ] = Timespan(60)
    access_timeout: Annotated[
        Timespan,
        Meta(
            description="How long the cluster may refuse access to a namespace, because the server's rights in it or the namespace itself were deleted, before its benchmarks fail. For so long, too, the server retries to stop a workload."
        ),
    ] = Timespan(300)
    parallel_launches: Annotated[int, Meta(description="Maximum number of concurrent Job creations.")] = 8
    max_parallel: Annotated[
        int | None,
        Meta(
            description="Maximum number of benchmarks that run at the same time. Default: no limit; the cluster decides.",
            examples=[50],
        ),
    ] = None
    samples_volume_limit: Annotated[
        str,
        Meta(
            description="Maximum size of the volume where a pod's adapter leaves samples and artifacts. Kubernetes evicts a pod that exceeds it. Empty: pods have no such volume and hand over no samples.",
            examples=["10Gi"],
        ),
    ] = "4Gi"
    hardening: Annotated[
        Hardening, Meta(description="Changes to Jobs that others can see; all off by default.")
    ] = Hardening()


class MlflowSection(Struct, kw_only=True, frozen=True):
    """Keys of the section ``mlflow`` that affect Jobs."""

    tracking_uri: str = ""
    ca_cert_path: str = ""
    http_timeout: Duration | None = None


class ServiceSection(Struct, kw_only=True, frozen=True):
    """Keys of the section ``service`` that affect Jobs."""

    eval_init_image: str = ""


class Installation(Struct, kw_only=True, frozen=True):
    """Properties of this server that affect Jobs, read once at start.

    ``instance``: the name that the operator gave the server, or empty. ``namespace``: the server's own, or empty
    outside a cluster. ``profiles_namespace``: where hardware profiles are read, or empty. ``server_url``: where
    sidecars reach this server if neither the instance nor ``sidecar.eval_hub.base_url`` is set.
    ``mlflow.tracking_uri``: the tracking server's address, or empty for none.
    """

    instance: str = ""
    namespace: str = ""
    profiles_namespace: str = ""
    server_url: str = ""
    mlflow: MlflowSection = MlflowSection()
    init_image: str = ""
    sidecar: SidecarSettings = SidecarSettings()
    settings: KubernetesSettings = KubernetesSettings()

    @property
    def termination_grace_s(self) -> int:
        """Termination grace period of pods in seconds; 0 leaves it to the cluster."""
        configured = round(self.settings.hardening.termination_grace)
        return configured or (UPLOAD_GRACE_S if self.settings.samples_volume_limit else 0)

    @property
    def base_url(self) -> str:
        """Address at which adapters reach their sidecar."""
        return self.sidecar.base_url or DEFAULT_BASE_URL

    def tenant_namespace(self, tenant: str) -> str:
        """Return the namespace of a tenant's Jobs; without a tenant the server's own, else ``default``."""
        return tenant or self.namespace or DEFAULT_NAMESPACE

    def own_namespace(self, tenant: str) -> str:
        """Return the server's namespace from the point of view of this tenant's Jobs."""
        return self.namespace or self.tenant_namespace(tenant)


def installation(
    settings: KubernetesSettings,
    context: PluginContext,
    environ: Mapping[str, str],
    namespace_file: Path = NAMESPACE_FILE,
) -> Installation:
    """Read the installation from settings and environment. Raises :class:`SettingsError` for a wrong value in a section that is read here."""
    mlflow: MlflowSection = _section(context, "mlflow", MlflowSection)
    # The variable is read directly, since a configuration can map others and leave this one out.
    sidecar: SidecarSettings = _section(context, "sidecar", SidecarSettings)
    uris = (sidecar.mlflow.tracking_uri, environ.get("MLFLOW_TRACKING_URI", ""), mlflow.tracking_uri)
    tracking_uri = next((uri.strip() for uri in uris if uri.strip()), "")
    return Installation(
        instance=environ.get("EVALHUB_INSTANCE_NAME", "").strip(),
        namespace=_text(namespace_file),
        profiles_namespace=environ.get("EVALHUB_HARDWARE_PROFILES_NAMESPACE", "").strip(),
        server_url=environ.get("SERVICE_URL", "").strip() or context.callback_url,
        mlflow=replace(mlflow, tracking_uri=tracking_uri),
        init_image=_section(context, "service", ServiceSection).eval_init_image.strip(),
        sidecar=sidecar,
        settings=settings,
    )


def _section(context: PluginContext, name: str, type_: type[Any]) -> Any:
    """Convert the keys of a section that ``type_`` declares; other keys belong to other plugins."""
    return convert_section(find_section(context.sections, name), type_, name, strict=False)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError:
        return ""
