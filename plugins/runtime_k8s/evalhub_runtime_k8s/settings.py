"""The configuration section ``kubernetes``, and what the server's surroundings say about its installation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from evalhub_server.plugins import PluginContext, Timespan, convert_section, find_section
from evalhub_server.plugins.sidecar import SidecarSettings

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_NAMESPACE = "default"
DEFAULT_BASE_URL = "http://localhost:8080"


class KubernetesSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """``kubernetes:`` how benchmarks run in the cluster.

    ``ttl``: how long a Job and its pod stay after their end, then Kubernetes removes them.
    """

    ttl: Timespan = Timespan(3600)


class MlflowSection(Struct, kw_only=True, frozen=True):
    """What of the section ``mlflow`` matters to Jobs."""

    tracking_uri: str = ""
    ca_cert_path: str = ""


class ServiceSection(Struct, kw_only=True, frozen=True):
    """What of the section ``service`` matters to Jobs."""

    eval_init_image: str = ""


class Installation(Struct, kw_only=True, frozen=True):
    """Everything about this server that shapes Jobs, read once at start.

    ``instance``: the name that the operator gave the server, or empty. ``namespace``: the server's own, or empty
    outside a cluster. ``profiles_namespace``: where hardware profiles are read, or empty. ``mlflow``: the tracking
    server's address for sidecars, or empty.
    """

    instance: str = ""
    namespace: str = ""
    profiles_namespace: str = ""
    mlflow: MlflowSection = MlflowSection()
    init_image: str = ""
    sidecar: SidecarSettings = SidecarSettings()
    settings: KubernetesSettings = KubernetesSettings()

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
    mlflow = _section(context, "mlflow", MlflowSection)
    return Installation(
        instance=environ.get("EVALHUB_INSTANCE_NAME", "").strip(),
        namespace=_text(namespace_file),
        profiles_namespace=environ.get("EVALHUB_HARDWARE_PROFILES_NAMESPACE", "").strip(),
        mlflow=MlflowSection(
            tracking_uri=environ.get("MLFLOW_TRACKING_URI", "").strip() or mlflow.tracking_uri.strip(),
            ca_cert_path=mlflow.ca_cert_path,
        ),
        init_image=_section(context, "service", ServiceSection).eval_init_image.strip(),
        sidecar=_section(context, "sidecar", SidecarSettings),
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
