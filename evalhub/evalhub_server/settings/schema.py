"""The sections of the configuration that belong to the core, as types.

A field is a key; the docstrings say what the keys mean. Sections of plugins have their types in the plugins.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from evalhub_server.plugins.sections import Duration, Timespan, struct_in
from evalhub_server.plugins.sidecar import SidecarSettings

MIB = 1024 * 1024
OTLP = ("otlp-grpc", "otlp-http")
"""Types of exporters that send to a collector."""


class ServiceSettings(Struct, kw_only=True, frozen=True):
    """``service:`` the HTTP server. Port 0 takes a free one; a limit of time of 0 is none.

    ``read_header_timeout`` ends a connection whose request's head does not come, ``read_timeout`` one whose body
    does not, ``idle_timeout`` one on which no further request comes. ``allowed_hosts`` and ``allowed_origins`` are names
    that clients may use for this server, and web pages that may use it, beside those of this computer.
    ``auth_token_file`` is a file with a token that every request must carry.
    ``termination_file`` gets the text of a failed start, outside local mode. ``eval_init_image`` is for runtimes,
    which read it from the sections.
    """

    host: str = ""
    port: int = 8080
    tls_cert_file: str = ""
    tls_key_file: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    auth_token_file: str = ""
    read_header_timeout: Duration = Duration(15)
    read_timeout: Duration = Duration(15)
    write_timeout: Duration = Duration(15)
    idle_timeout: Duration = Duration(60)
    max_header_bytes: int = MIB
    max_request_body_bytes: int = 10 * MIB
    max_log_response_bytes: int = 50 * MIB
    log_stream_timeout: Duration = Duration(300)
    termination_file: str = ""
    eval_init_image: str = ""
    local_mode: bool = False

    @property
    def body_limit_bytes(self) -> int:
        """Largest request body; -1 is no limit. Contract: 0 means the default, too."""
        return self.max_request_body_bytes or 10 * MIB


class PluginSettings(Struct, kw_only=True, frozen=True):
    """``plugins:`` which implementations are used. Empty means: what the mode and the sections suggest.

    So do ``trackers`` and ``exporters`` when they are not given; an empty list is none.
    """

    runtime: str = ""
    storage: str = ""
    trackers: tuple[str, ...] | None = None
    exporters: tuple[str, ...] | None = None


class SupervisorSettings(Struct, kw_only=True, frozen=True):
    """``supervisor:`` how long things may take. 0 switches a deadline off.

    ``exit_grace``: how long a result may still be on its way after the adapter has ended. ``stop_grace``: between
    asking an adapter to end and forcing it. ``start_timeout``: from launch to the first report. ``run_timeout``:
    from launch to the result. ``linger``: how long an adapter may stay alive after it has reported its result.
    """

    exit_grace: Timespan = Timespan(1)
    stop_grace: Timespan = Timespan(10)
    start_timeout: Timespan = Timespan(0)
    run_timeout: Timespan = Timespan(7 * 24 * 3600)
    linger: Timespan = Timespan(120)


class FinalizerSettings(Struct, kw_only=True, frozen=True):
    """``finalizer:`` how results of jobs are sent to trackers and exporters.

    ``max_parallel``: exports that run at once, for each tracker and exporter. A failed one is tried again after a
    second, then after twice as long each time up to ``retry_most``, at most ``max_attempts`` times in all: with the
    defaults about a week, so that an outage over a long weekend loses nothing.
    """

    max_parallel: int = 8
    retry_most: Timespan = Timespan(300)
    max_attempts: int = 2700


class PrometheusSettings(Struct, kw_only=True, frozen=True):
    """``prometheus:`` a listener of its own for ``/metrics``. Port 0 takes a free one.

    ``host`` empty: all addresses, since scrapers are on other hosts; in local mode those of the API.
    """

    enabled: bool = False
    port: int = 8081
    host: str = ""


class OtelSettings(Struct, kw_only=True, frozen=True):
    """``otel:`` OpenTelemetry. ``exporter_type`` is otlp-grpc, otlp-http or stdout.

    ``exporter_endpoint`` is host:port of a collector, which is spoken to over TLS unless ``exporter_insecure``.
    ``sampling_ratio`` is the part of traces that is kept, where the caller has not decided it. ``tracer_timeout`` is how
    long the collector may take for spans.
    """

    enabled: bool = False
    exporter_type: str = ""
    exporter_endpoint: str = ""
    exporter_insecure: bool = False
    sampling_ratio: float = 1.0
    enable_tracing: bool = False
    enable_metrics: bool = False
    enable_logs: bool = False
    enable_job_container_logs: bool = False
    tracer_timeout: Duration = Duration(30)
    tracer_batch_interval: Duration = Duration(5)
    metric_export_interval: Duration = Duration(60)
    service_name: str = ""
    service_version: str = ""
    additional_attributes: dict[str, str] = field(default_factory=dict[str, str])
    enable_ecs_resource_detection: bool = False
    disable_redirect_otel_logs: bool = False
    disable_database_otel_scan: bool = False

    @property
    def adapter_environment(self) -> dict[str, str]:
        """Variables that make the SDK's adapters report to the collector, as the released server gives them."""
        if not self.enabled or self.exporter_type not in OTLP:
            return {}
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector,
            "OTEL_SERVICE_NAME": "evalhub-adapter",
        }

    @property
    def collector(self) -> str:
        """Its URL, or ``stdout``."""
        if self.exporter_type not in OTLP:
            return self.exporter_type
        return f"{'http' if self.exporter_insecure else 'https'}://{self.exporter_endpoint}"


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
