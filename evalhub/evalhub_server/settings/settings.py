"""The complete settings of a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from evalhub_server.errors import SettingsError
from evalhub_server.plugins.sections import Duration
from evalhub_server.plugins.sidecar import SidecarSettings
from evalhub_server.settings.file_sections import RetentionSettings, SampleSettings
from evalhub_server.settings.layers import Finding, Location, key_of
from evalhub_server.settings.locate import resources_dirs
from evalhub_server.settings.s3 import is_s3
from evalhub_server.settings.schema import (
    CatalogSettings,
    FinalizerSettings,
    PluginSettings,
    ServiceSettings,
    SupervisorSettings,
    ViewerSettings,
)
from evalhub_server.settings.secrets import MAPPINGS, Secrets
from evalhub_server.settings.telemetry_sections import OtelSettings, PrometheusSettings
from evalhub_server.settings.yaml_file import nearest_above


class Settings(Struct, kw_only=True, frozen=True):
    """Typed sections of the core, and ``sections``, the whole configuration, from which plugins read theirs.

    ``warnings`` are written to the log at the start. ``locations`` maps each key (dotted, in lower case) to where it was
    set. ``secrets`` must not appear in logs and messages.
    """

    local: bool
    config_file: Path
    data_dir: Path | None = None
    log_level: str = "info"
    log_format: str = "auto"
    service: ServiceSettings = ServiceSettings()
    catalog: CatalogSettings = CatalogSettings()
    samples: SampleSettings = SampleSettings()
    retention: RetentionSettings = RetentionSettings()
    plugins: PluginSettings = PluginSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    finalizer: FinalizerSettings = FinalizerSettings()
    prometheus: PrometheusSettings = PrometheusSettings()
    otel: OtelSettings = OtelSettings()
    sidecar: SidecarSettings = SidecarSettings()
    viewer: ViewerSettings = ViewerSettings()
    sections: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[Finding, ...] = ()
    locations: Mapping[str, Location] = field(default_factory=dict[str, Location])
    secrets: Secrets = Secrets()

    def __repr__(self) -> str:
        """Short, because the fields contain secrets."""
        return f"Settings(config_file={str(self.config_file)!r}, local={self.local})"

    def providers_dirs(self, packs: Sequence[Path] = ()) -> tuple[Path, ...]:
        """Folders of provider files, with those of ``packs``. Looked up on each call: a folder may be created while the server runs."""
        return resources_dirs(self.config_file, "providers", packs, bundled=self.catalog.bundled)

    def collections_dirs(self, packs: Sequence[Path] = ()) -> tuple[Path, ...]:
        """Folders of collection files, like :meth:`providers_dirs`."""
        return resources_dirs(self.config_file, "collections", packs, bundled=self.catalog.bundled)

    @property
    def samples_dir(self) -> Path | None:
        """Folder of samples and artifacts; None if they are in a bucket, or neither ``samples.url`` nor a data directory is set."""
        if self.samples_in_bucket:
            return None
        if self.samples.url:
            return Path(self.samples.url.removeprefix("file://")).expanduser().absolute()
        return self.data_dir / "samples" if self.data_dir is not None else None

    @property
    def samples_in_bucket(self) -> bool:
        """Whether samples and artifacts are in a bucket, and not in a folder."""
        return is_s3(self.samples.url)

    @property
    def host(self) -> str:
        """Address to bind."""
        return self.service.host or "127.0.0.1"

    @property
    def metrics_host(self) -> str:
        """Address to bind for the metrics' own listener."""
        return self.prometheus.host or (self.host if self.local else "0.0.0.0")  # noqa: S104

    def bound_to(self, host: str, port: int) -> Settings:
        """These settings for a server that listens on an address which it did not choose."""
        return replace(self, service=replace(self.service, host=host, port=port))

    def callback_url(self, port: int) -> str:
        """URL of the server for adapters on this host; never a wildcard address."""
        host = self.service.host or "localhost"
        if host in ("0.0.0.0", "::", "[::]"):  # noqa: S104  compared, not bound
            host = "localhost"
        elif ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"{'https' if self.service.tls_cert_file else 'http'}://{host}:{port}"

    def error(self, error: SettingsError) -> SettingsError:
        """An error of a plugin with the location of the key that its message begins with."""
        if error.source:
            return error
        location = nearest_above(dict(self.locations), key_of(error.message)) or Location(
            str(self.config_file)
        )
        return SettingsError(self.secrets.redact(error.message), location.source, location.line)

    def shown(self) -> dict[str, Any]:
        """Redacted configuration for the log: sections of the core with defaults, others as configured."""
        names = (
            "service",
            "catalog",
            "plugins",
            "supervisor",
            "finalizer",
            "samples",
            "retention",
            "prometheus",
            "viewer",
        )
        core = {name: getattr(self, name) for name in names}
        rest = {key: value for key, value in self.sections.items() if key.lower() not in {*core, *MAPPINGS}}
        return self.secrets.shown({**msgspec.to_builtins(core, enc_hook=_plain), **rest})


def _plain(value: Any) -> str:
    return f"{value:g}s" if isinstance(value, Duration) else str(value)
