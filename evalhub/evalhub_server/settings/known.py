"""Which keys there are, as data: what the core reads, what only plugins read, what has no effect (yet)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from evalhub_server.plugins.sections import Duration, struct_in
from evalhub_server.plugins.sidecar import SidecarSettings
from evalhub_server.settings.sections import (
    FinalizerSettings,
    OtelSettings,
    PluginSettings,
    PrometheusSettings,
    ServiceSettings,
    SupervisorSettings,
)

ENVIRONMENT: Mapping[str, str] = {
    "PORT": "service.port",
    "API_HOST": "service.host",
    "TLS_CERT_FILE": "service.tls_cert_file",
    "TLS_KEY_FILE": "service.tls_key_file",
    "DB_DRIVER": "database.driver",
    "DB_URL": "database.url",
    "MLFLOW_TRACKING_URI": "mlflow.tracking_uri",
    "MLFLOW_CA_CERT_PATH": "mlflow.ca_cert_path",
    "MLFLOW_TOKEN_PATH": "mlflow.token_path",
    "MLFLOW_WORKSPACE": "mlflow.workspace",
    "MLFLOW_TOKEN_CACHE_TIMEOUT": "sidecar.mlflow.token_cache_timeout",
    "EVALHUB_CA_CERT_PATH": "sidecar.eval_hub.ca_cert_path",
    "EVALHUB_INSECURE_SKIP_VERIFY": "sidecar.eval_hub.insecure_skip_verify",
    "EVALHUB_TOKEN_CACHE_TIMEOUT": "sidecar.eval_hub.token_cache_timeout",
    "OCI_AUTH_CONFIG_PATH": "oci.auth_config_path",
    "OCI_INSECURE": "oci.insecure",
    "METRICS_PORT": "prometheus.port",
    "METRICS_HOST": "prometheus.host",
    "OTEL_METRIC_EXPORT_INTERVAL": "otel.metric_export_interval",
}
"""Variables that work with any configuration file; ``env_mappings`` in the file adds others."""

CORE_SECTIONS: Mapping[str, type[Struct]] = {
    "service": ServiceSettings,
    "plugins": PluginSettings,
    "supervisor": SupervisorSettings,
    "finalizer": FinalizerSettings,
    "prometheus": PrometheusSettings,
    "otel": OtelSettings,
    "sidecar": SidecarSettings,
}
"""Section → type; each is a field of :class:`Settings`."""


class SecretFiles(Struct, kw_only=True, frozen=True):
    """``secrets:`` a directory, and which of its files sets which key; ``file:optional`` may be missing."""

    dir: str = ""
    mappings: dict[str, str] = field(default_factory=dict[str, str])


class _Mlflow(Struct, kw_only=True, frozen=True):
    tracking_uri: str = ""
    http_timeout: Duration | None = None
    ca_cert_path: str = ""
    token: str = ""
    token_path: str = ""
    workspace: str = ""


class _Database(Struct, kw_only=True, frozen=True):
    driver: str = ""
    url: str = ""
    max_open_conns: int | None = None
    max_idle_conns: int | None = None
    conn_max_lifetime: Duration | None = None


OTHER_SECTIONS: Mapping[str, type[Struct]] = {"mlflow": _Mlflow, "database": _Database}
"""The released server's sections that belong to plugins here, for when no installed plugin claims them."""

NO_EFFECT: Mapping[str, str] = {
    "database.max_idle_conns": "a connection that nobody uses is closed after a while",
    "service.local_mode": "the flag --local decides, as in the released server",
    "service.write_timeout": "answers are short, and logs have log_stream_timeout",
    "otel.disable_database_otel_scan": "the database has no spans",
    "otel.disable_redirect_otel_logs": "what keeps telemetry from being sent is in the log, once",
    "otel.enable_ecs_resource_detection": "additional_attributes can say where the server runs",
    "sidecar.eval_hub.token": "in a cluster sidecars have the tokens of their pods",
    "sidecar.init_container.*": "each Job says it",
    "sidecar.local.*": "for the sidecar's own file",
    "sidecar.mlflow.token_path": "in a cluster sidecars have the tokens of their pods",
    "sidecar.mlflow.workspace": "the tenant is the workspace",
    "sidecar.model.auth_secret_mount_path": "each Job says it",
    "sidecar.model.url": "each Job says it",
}
"""Keys (a final ``*`` stands for all below) that are checked, accepted in silence and do nothing; and why."""


def key_paths(type_: type[Struct], path: str) -> list[str]:
    """Every key below ``path``, dotted, as the fields of ``type_`` have them."""
    paths: list[str] = []
    for item in msgspec.structs.fields(type_):
        below = f"{path}.{item.encode_name}"
        nested = struct_in(item.type)
        paths += key_paths(nested, below) if nested else [below]
    return paths
