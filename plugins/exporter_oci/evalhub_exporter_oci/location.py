"""The location of a job's artifact: registry, repository and tag, from the coordinates in the job."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from msgspec import Struct

from evalhub_server.plugins import ExportRefused, OciCoordinates, is_loopback, registry_api_host

# The grammar of the distribution specification 1.1. Only such text may become a part of a URL.
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


class Location(Struct, kw_only=True, frozen=True):
    """``host`` is the registry as written in the job, ``url`` that of its API without a trailing slash."""

    host: str
    url: str
    repository: str
    tag: str

    @property
    def text(self) -> str:
        return f"{self.host}/{self.repository}:{self.tag}"

    @property
    def plain_http(self) -> bool:
        return self.url.startswith("http://")


def artifact_location(
    coordinates: OciCoordinates,
    job_id: str,
    *,
    insecure: bool = False,
    insecure_hosts: Collection[str] = (),
    own_computer: bool = False,
) -> Location:
    """The location of a job's card. Raises :class:`ExportRefused` for invalid coordinates.

    Plain HTTP, which does not protect credentials, is limited to registries that ``insecure`` (all) or
    ``insecure_hosts`` allow. ``http://`` before the host selects it; with ``own_computer`` this is also allowed for a
    registry on this computer.
    """
    scheme, _, rest = coordinates.oci_host.strip().lower().rpartition("://")
    host = rest.removesuffix("/")
    if scheme not in ("", "http", "https") or not _HOST.fullmatch(host) or not _has_valid_port(host):
        raise ExportRefused(
            f"exports.oci.coordinates.oci_host {coordinates.oci_host!r} is not a registry; write host or host:port"
        )
    repository = coordinates.oci_repository
    if not _REPOSITORY.fullmatch(repository):
        raise ExportRefused(
            f"exports.oci.coordinates.oci_repository {repository!r} is not a repository; write for example team/results "
            f"in lower-case letters, digits and . _ - /"
        )
    tag = f"{coordinates.oci_tag or 'evaluation-card'}-{job_id}"
    if not _TAG.fullmatch(tag):
        raise ExportRefused(
            f"exports.oci.coordinates.oci_tag {coordinates.oci_tag!r} is not a valid tag: with the job's id it may have 128 "
            f"letters, digits and . _ -"
        )
    allowed = insecure or host in insecure_hosts
    is_local = own_computer and is_loopback(urlsplit(f"//{host}").hostname or "")
    if scheme == "http" and not (allowed or is_local):
        raise ExportRefused(
            f"{host} would be accessed over plain HTTP; allow that with oci.insecure_registries: [{host}], or write "
            f"oci_host without http://"
        )
    plain = scheme == "http" or (allowed and not scheme)
    return Location(
        host=host,
        url=f"{'http' if plain else 'https'}://{registry_api_host(host)}",
        repository=repository,
        tag=tag,
    )


def _has_valid_port(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").port != 0
    except ValueError:  # a port beyond 65535, or brackets around text that is not an address
        return False
