"""Types of the configuration sections that belong to the core.

A field is a key, and its description is the only text about it: the reference, the file that ``init`` writes and the
hints of ``check`` are generated from it. Sections of plugins have their types in the plugins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct, field

from evalhub_server.plugins.sections import Duration, Timespan
from evalhub_server.plugins.sidecar import SidecarSettings
from evalhub_server.settings.file_sections import MIB, RetentionSettings, SampleSettings
from evalhub_server.settings.telemetry_sections import OtelSettings, PrometheusSettings

MAX_BENCHMARKS_PER_JOB = 10_000


class ServiceSettings(Struct, kw_only=True, frozen=True):
    """Section ``service``: the HTTP server."""

    host: Annotated[
        str,
        Meta(
            description="Address that the API listens on. Default: `127.0.0.1`. `0.0.0.0` and `::` are all addresses; other computers can then reach the server.",
            examples=["192.168.1.20"],
        ),
    ] = ""
    port: Annotated[int, Meta(description="Port of the API. 0 takes a free one.", examples=[9090])] = 8080
    tls_cert_file: Annotated[
        str,
        Meta(
            description="PEM file with the certificate. With `service.tls_key_file`, the server speaks HTTPS.",
            examples=["/etc/evalhub/cert.pem"],
        ),
    ] = ""
    tls_key_file: Annotated[
        str,
        Meta(
            description="PEM file with the private key of `service.tls_cert_file`.",
            examples=["/etc/evalhub/key.pem"],
        ),
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Additional names under which clients may reach this server, beside those of this computer.",
            examples=[["evalhub.example.org"]],
        ),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Additional origins whose web pages may use the API, beside those of this computer.",
            examples=[["https://ui.example.org"]],
        ),
    ] = ()
    root_path: Annotated[
        str,
        Meta(
            description="Path prefix under which clients reach this server behind a proxy. Links in answers begin with it. The proxy may remove it from requests or not.",
            examples=["/evalhub"],
        ),
    ] = ""
    root_url: Annotated[
        str,
        Meta(
            description="Address under which browsers reach this server behind a proxy. Forms of the pages are accepted from its origin. Its path is the default of `root_path`.",
            examples=["https://evalhub.example.org"],
        ),
    ] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks of proxies whose `X-Forwarded-Prefix` is used instead of `service.root_path`, and whose `X-Forwarded-Proto` and `X-Forwarded-Host` are the address under which browsers reach this server.",
            examples=[["10.0.0.0/8", "127.0.0.1"]],
        ),
    ] = ()
    auth_token_file: Annotated[
        str,
        Meta(
            description="File with a token that every request must carry as `Authorization: Bearer TOKEN`. It is read again when it changes.",
            examples=["~/.evalhub-token"],
        ),
    ] = ""
    read_header_timeout: Annotated[
        Duration, Meta(description="Time limit for the head of a request. `0s`: none.")
    ] = Duration(15)
    read_timeout: Annotated[
        Duration, Meta(description="Time limit for the body of a request. `0s`: none.")
    ] = Duration(15)
    write_timeout: Annotated[Duration, Meta(description="Accepted for compatibility; has no effect.")] = (
        Duration(15)
    )
    idle_timeout: Annotated[
        Duration, Meta(description="How long a connection may wait for its next request. `0s`: no limit.")
    ] = Duration(60)
    max_header_bytes: Annotated[
        int, Meta(description="Maximum size of the head of a request. 0: the default.")
    ] = MIB
    max_request_body_bytes: Annotated[
        int, Meta(description="Maximum size of a request body. -1: no limit; 0: the default.")
    ] = 10 * MIB
    max_inflight_body_bytes: Annotated[
        int,
        Meta(
            description="Maximum total size of the request bodies that the server receives and processes at the same time. Further ones are answered with 503. It is at least `service.max_request_body_bytes`. -1: no limit; 0: the default."
        ),
    ] = 128 * MIB
    max_log_response_bytes: Annotated[
        int,
        Meta(
            description="Maximum size of one answer with logs. Of the last lines the end is returned, of a whole log the beginning. -1: no limit; 0: the default."
        ),
    ] = 50 * MIB
    max_benchmarks_per_job: Annotated[
        int, Meta(description="Maximum number of benchmarks of one job. -1: no limit; 0: the default.")
    ] = MAX_BENCHMARKS_PER_JOB
    log_stream_timeout: Annotated[Duration, Meta(description="Time limit for one answer with logs.")] = (
        Duration(300)
    )
    termination_file: Annotated[
        str,
        Meta(
            description="File that receives the message of a failed start, outside local mode. Default: the variable `TERMINATION_FILE`, else `/opt/evalhub/work/termination-log`.",
            examples=["/dev/termination-log"],
        ),
    ] = ""
    eval_init_image: Annotated[
        str,
        Meta(
            description="Image of the init container, which fetches test data. For runtimes that run containers.",
            examples=["registry.example/evalhub:1.1.0"],
        ),
    ] = ""
    local_mode: Annotated[
        bool,
        Meta(description="Accepted for compatibility; has no effect. The flag `--local` selects the mode."),
    ] = False

    @property
    def benchmarks_limit(self) -> int:
        """Maximum number of benchmarks of one job; -1 is no limit."""
        return self.max_benchmarks_per_job or MAX_BENCHMARKS_PER_JOB

    @property
    def body_limit_bytes(self) -> int:
        """Largest request body; -1 is no limit. Contract: 0 means the default, too."""
        return self.max_request_body_bytes or 10 * MIB

    @property
    def inflight_body_limit_bytes(self) -> int:
        """Largest total of request bodies, at least one of the largest; -1 is no limit."""
        if self.max_inflight_body_bytes < 0:
            return -1
        return max(self.max_inflight_body_bytes or 128 * MIB, self.body_limit_bytes)


class PluginSettings(Struct, kw_only=True, frozen=True):
    """Section ``plugins``: which implementations are used."""

    runtime: Annotated[
        str,
        Meta(
            description="Runtime plugin. Default: `local` with `--local`, else `kubernetes`.",
            examples=["local"],
        ),
    ] = ""
    storage: Annotated[
        str,
        Meta(
            description="Storage plugin. Default: the one that `database.driver` names.", examples=["sqlite"]
        ),
    ] = ""
    trackers: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Tracker plugins. Default: those whose section is configured. An empty list switches tracking off.",
            examples=[["mlflow"]],
        ),
    ] = None
    exporters: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Exporter plugins. Default: `oci`, and `webhook` if it is configured. An empty list switches exports off.",
            examples=[["oci", "webhook"]],
        ),
    ] = None
    observers: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Observer plugins. Default: all that are installed. An empty list switches observers off.",
            examples=[["my_observer"]],
        ),
    ] = None


class SupervisorSettings(Struct, kw_only=True, frozen=True):
    """Section ``supervisor``: deadlines and grace periods of adapters."""

    exit_grace: Annotated[
        Timespan, Meta(description="How long a result may still arrive after its adapter has exited.")
    ] = Timespan(1)
    stop_grace: Annotated[
        Timespan, Meta(description="Grace period between SIGTERM and SIGKILL when an adapter is stopped.")
    ] = Timespan(10)
    start_timeout: Annotated[
        Timespan,
        Meta(
            description="Deadline from the launch of an adapter to its first report. `0s`: none.",
            examples=["10m"],
        ),
    ] = Timespan(0)
    run_timeout: Annotated[
        Timespan,
        Meta(
            description="Deadline from the launch of an adapter to its result. `0s`: none.", examples=["24h"]
        ),
    ] = Timespan(7 * 24 * 3600)
    linger: Annotated[
        Timespan,
        Meta(
            description="How long an adapter may keep running after it has reported its result. `0s`: no limit."
        ),
    ] = Timespan(120)
    restart_interrupted: Annotated[
        bool,
        Meta(
            description="Start an adapter again from the beginning, instead of failing its benchmark, if a stop of the server or its host terminated it (at most five attempts). A server without durable storage forgets its jobs in any case."
        ),
    ] = False


class FinalizerSettings(Struct, kw_only=True, frozen=True):
    """Section ``finalizer``: delivery of results to trackers and exporters."""

    max_parallel: Annotated[
        int, Meta(description="Maximum number of concurrent exports, for each tracker and exporter.")
    ] = 8
    retry_most: Annotated[
        Timespan,
        Meta(
            description="Maximum pause between two attempts of an export. The first pause is a second; each further one is twice as long."
        ),
    ] = Timespan(300)
    max_attempts: Annotated[
        int,
        Meta(
            description="Maximum number of attempts of an export. With the defaults they last about a week."
        ),
    ] = 2700


class CatalogSettings(Struct, kw_only=True, frozen=True):
    """Section ``catalog``: which providers and collections are served."""

    bundled: Annotated[
        bool,
        Meta(
            description="Serve the bundled providers and collections beside those of the configuration directory, whose ids take precedence. Without it, a directory with `providers/` is the whole catalogue."
        ),
    ] = False
    packs: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Provider packs that are served: installed distributions with providers and collections, by the names that `eval-hub-server plugins` lists. Default: all. An empty list serves none.",
            examples=[["my_benchmarks"]],
        ),
    ] = None


class ViewerSettings(Struct, kw_only=True, frozen=True):
    """Section ``viewer``: the pages below ``/ui``."""

    enabled: Annotated[
        bool | None,
        Meta(
            description="Serve the pages. Default: with `--local`, unless other computers can reach the server and it has no token. In a cluster, users and tenants come from the headers that the proxy sets, as for the API.",
            examples=[True],
        ),
    ] = None
    read_only: Annotated[
        bool,
        Meta(
            description="Serve pages without forms that start, cancel or delete jobs. The API is not affected."
        ),
    ] = False


CORE_SECTIONS: Mapping[str, type[Struct]] = {
    "service": ServiceSettings,
    "catalog": CatalogSettings,
    "plugins": PluginSettings,
    "supervisor": SupervisorSettings,
    "finalizer": FinalizerSettings,
    "samples": SampleSettings,
    "retention": RetentionSettings,
    "prometheus": PrometheusSettings,
    "otel": OtelSettings,
    "sidecar": SidecarSettings,
    "viewer": ViewerSettings,
}
"""Section → type; each is a field of :class:`Settings`."""


class SecretFiles(Struct, kw_only=True, frozen=True):
    """Section ``secrets``: files whose contents are values."""

    dir: Annotated[
        str, Meta(description="Directory with secret files.", examples=["/run/secrets/evalhub"])
    ] = ""
    mappings: Annotated[
        dict[str, str],
        Meta(
            description="File name → key that its contents set. A file name with `:optional` may be missing. One newline at the end of a file is not part of the value.",
            examples=[{"db_url": "database.url", "mlflow_token:optional": "mlflow.token"}],
        ),
    ] = field(default_factory=dict[str, str])


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
