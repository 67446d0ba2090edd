"""The configuration section ``oci``."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from evalhub_server.plugins import (
    DOCKER_HUB_REALMS,
    PluginContext,
    SettingsError,
    SidecarSettings,
    Timespan,
    convert_section,
    find_section,
    host_of,
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
    allowed_registries: Annotated[
        tuple[str, ...],
        Meta(
            description="Registries with private addresses that jobs of a cluster may export to, as `host`, `host:port` or network. Addresses of the server itself, link-local ones and metadata services are never allowed. In local mode every registry is.",
            examples=[["registry.registry.svc.cluster.local:5000", "10.96.0.0/12"]],
        ),
    ] = ()
    allowed_realms: Annotated[
        tuple[str, ...],
        Meta(
            description="Hosts of token servers that get credentials beside those with the host or the registrable domain of their registry.",
            examples=[["auth.docker.io", "sso.example.com"]],
        ),
    ] = DOCKER_HUB_REALMS
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
    for entry in settings.allowed_registries:
        if not _is_network(entry) and host_of(entry) is None:
            raise SettingsError(
                f"oci.allowed_registries: {entry!r} is neither a host nor a network; write host, host:port or 10.0.0.0/8"
            )
    for host in settings.allowed_realms:
        if ":" in host or host_of(host) is None:
            raise SettingsError(
                f"oci.allowed_realms: {host!r} is not a host; write it without scheme and port"
            )
    return settings


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry.strip().strip("[]"), strict=False)
    except ValueError:
        return False
    return True
