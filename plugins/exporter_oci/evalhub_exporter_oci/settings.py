"""The configuration section ``oci``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
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
    """Section ``oci``: pushes to OCI registries."""

    auth_config_path: Annotated[
        str,
        Meta(
            description="Docker configuration with the credentials of registries. Default: `config.json` in `DOCKER_CONFIG`, else in `~/.docker`.",
            examples=["/etc/evalhub/docker.json"],
        ),
    ] = ""
    ca_cert_path: Annotated[
        str,
        Meta(
            description="PEM file with authorities to trust beside the system's. Default: `sidecar.oci.ca_cert_path`.",
            examples=["/etc/evalhub/ca.pem"],
        ),
    ] = ""
    insecure: Annotated[bool, Meta(description="Speak plain HTTP with every registry.")] = False
    insecure_registries: Annotated[
        tuple[str, ...],
        Meta(
            description="Registries to speak plain HTTP with, as `host` or `host:port`.",
            examples=[["registry.lan:5000"]],
        ),
    ] = ()
    http_timeout: Annotated[Timespan, Meta(description="Time limit for one answer of a registry.")] = (
        Timespan(30)
    )


def complete(settings: OciSettings, context: PluginContext) -> OciSettings:
    """The settings, with defaults from the sidecar's. Raises :class:`SettingsError` for invalid values."""
    if not settings.ca_cert_path:
        section = find_section(context.sections, "sidecar")
        sidecar = convert_section(section, SidecarSettings, "sidecar", strict=False)
        settings = replace(settings, ca_cert_path=sidecar.oci.ca_cert_path)
    if settings.http_timeout <= 0:
        raise SettingsError('oci.http_timeout: must be above 0; write for example "30s"')
    if settings.ca_cert_path and not Path(settings.ca_cert_path).expanduser().is_file():
        raise SettingsError(f"oci.ca_cert_path: {settings.ca_cert_path} is not a file; name a PEM file")
    for host in settings.insecure_registries:
        if "/" in host:
            raise SettingsError(f"oci.insecure_registries: {host!r} is not a host; write host or host:port")
    return settings
