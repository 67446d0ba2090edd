"""The configuration section ``kubernetes``, and what the server's surroundings say about its installation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
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


class Hardening(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """``kubernetes.hardening``: each key changes the Jobs that others can see, so all are off.

    ``deadline``: from the start of a Job until Kubernetes ends it. ``restart_disrupted``: start an adapter from
    scratch when its pod was evicted or preempted, instead of failing the benchmark; a provider's ``runtime.k8s`` can
    say so with a key of the same name. ``logs_as_message``: the end of the log is the termination message of a container that
    left none. ``termination_grace``: between asking a pod to end and forcing it. ``pod_security_context``: say for
    the pod, too, what is said for its containers. ``read_only_root``: the adapter can write only to ``/data``,
    ``/shared`` and ``/tmp``. ``service_links``: variables for every service of the namespace, as Kubernetes makes
    them. ``docker_config_in_adapter``: the adapter sees the registry credentials that the sidecar uses.
    ``ephemeral_storage_request``, ``ephemeral_storage_limit``: of the adapter. ``volume_size_limit``: of the pod's
    own volumes. ``network_policy``: nobody may open a connection to the pod; needs the right to create network
    policies, and does nothing without it.
    """

    deadline: Timespan = Timespan(0)
    restart_disrupted: bool = False
    logs_as_message: bool = False
    termination_grace: Timespan = Timespan(0)
    pod_security_context: bool = False
    read_only_root: bool = False
    service_links: bool = True
    docker_config_in_adapter: bool = True
    ephemeral_storage_request: str = ""
    ephemeral_storage_limit: str = ""
    volume_size_limit: str = ""
    network_policy: bool = False


class KubernetesSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """``kubernetes:`` how benchmarks run in the cluster.

    ``ttl``: how long a Job and its pod stay after their end, then Kubernetes removes them. ``service_account``: the
    Jobs' account (default: the one that the operator makes, else the namespace's default). ``init_env``,
    ``sidecar_env``: variables of these containers, such as proxies, beside those that the server sets.

    ``poll_interval``: between two looks at the Jobs of a namespace, where the server may not watch them.
    ``exit_grace``: how long a result may still be on its way after a Job has ended. ``image_pull_timeout``: how long
    an image may fail to be pulled; ``container_error_timeout``: how long a container may be impossible to make, before
    the benchmark fails. ``unschedulable_notice``: how long a pod may be without a node before the benchmark says so.
    ``parallel_launches``: how many Jobs are made at once. ``max_parallel``: how many benchmarks run at once (default:
    any number; the cluster decides).
    """

    ttl: Timespan = Timespan(3600)
    service_account: str = ""
    init_env: dict[str, str] = {}
    sidecar_env: dict[str, str] = {}
    poll_interval: Timespan = Timespan(15)
    exit_grace: Timespan = Timespan(10)
    image_pull_timeout: Timespan = Timespan(300)
    container_error_timeout: Timespan = Timespan(60)
    unschedulable_notice: Timespan = Timespan(120)
    parallel_launches: int = 8
    max_parallel: int | None = None
    hardening: Hardening = Hardening()


class MlflowSection(Struct, kw_only=True, frozen=True):
    """What of the section ``mlflow`` matters to Jobs."""

    tracking_uri: str = ""
    ca_cert_path: str = ""
    http_timeout: Duration | None = None


class ServiceSection(Struct, kw_only=True, frozen=True):
    """What of the section ``service`` matters to Jobs."""

    eval_init_image: str = ""


class Installation(Struct, kw_only=True, frozen=True):
    """Everything about this server that shapes Jobs, read once at start.

    ``instance``: the name that the operator gave the server, or empty. ``namespace``: the server's own, or empty
    outside a cluster. ``profiles_namespace``: where hardware profiles are read, or empty. ``server_url``: where
    sidecars reach this server if neither the instance nor ``sidecar.eval_hub.base_url`` says it.
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
    def base_url(self) -> str:
        """Where adapters reach their sidecar."""
        return self.sidecar.base_url or DEFAULT_BASE_URL

    def tenant_namespace(self, tenant: str) -> str:
        """The namespace of a tenant's Jobs; without a tenant the server's own, else ``default``."""
        return tenant or self.namespace or DEFAULT_NAMESPACE

    def own_namespace(self, tenant: str) -> str:
        """The server's namespace, as Jobs of this tenant know it."""
        return self.namespace or self.tenant_namespace(tenant)


def installation(
    settings: KubernetesSettings,
    context: PluginContext,
    environ: Mapping[str, str],
    namespace_file: Path = NAMESPACE_FILE,
) -> Installation:
    """Read the surroundings. Raises :class:`SettingsError` for a wrong value in a section that is read here."""
    mlflow: MlflowSection = _section(context, "mlflow", MlflowSection)
    # The variable counts as it is, since a configuration can map others and leave this one out.
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
    """The part of a section that ``type_`` knows; its other keys are for others."""
    return convert_section(find_section(context.sections, name), type_, name, strict=False)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError:
        return ""
