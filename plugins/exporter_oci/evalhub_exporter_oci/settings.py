"""The configuration section ``oci``."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.plugins import (
    PluginContext,
    SettingsError,
    SidecarSettings,
    Timespan,
    convert_section,
    find_section,
)


class OciSettings(Struct, kw_only=True, frozen=True):
    """``auth_config_path``: the docker configuration with the credentials (default: docker's own).

    ``ca_cert_path``: a PEM file of authorities to trust beside the system's (default: ``sidecar.oci.ca_cert_path``).
    ``insecure``: speak plain HTTP with every registry; ``insecure_registries``: with these, as ``host`` or
    ``host:port``. ``http_timeout``: how long one request may take.
    """

    auth_config_path: str = ""
    ca_cert_path: str = ""
    insecure: bool = False
    insecure_registries: tuple[str, ...] = ()
    http_timeout: Timespan = Timespan(30)


def complete(settings: OciSettings, context: PluginContext) -> OciSettings:
    """The settings with what the sidecar's imply. Raises :class:`SettingsError` for what cannot work."""
    if not settings.ca_cert_path:
        section = find_section(context.sections, "sidecar")
        sidecar = convert_section(section, SidecarSettings, "sidecar", strict=False)
        settings = replace(settings, ca_cert_path=sidecar.oci.ca_cert_path)
    if settings.http_timeout <= 0:
        raise SettingsError('oci.http_timeout: must be longer than nothing; write for example "30s"')
    if settings.ca_cert_path and not Path(settings.ca_cert_path).expanduser().is_file():
        raise SettingsError(f"oci.ca_cert_path: {settings.ca_cert_path} is no file; name a PEM file")
    for host in settings.insecure_registries:
        if "/" in host:
            raise SettingsError(f"oci.insecure_registries: {host!r} is no host; write host or host:port")
    return settings
