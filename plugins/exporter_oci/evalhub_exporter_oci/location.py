"""Where a job's artifact goes: registry, repository and tag, from what the job says."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from msgspec import Struct

from evalhub_server.plugins import ExportRefused, OciCoordinates, is_loopback

DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = frozenset(
    {DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
_DOCKER_HUB_API = "registry-1.docker.io"

# The grammar of the distribution specification 1.1. Nothing else may become a part of a URL.
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


class Location(Struct, kw_only=True, frozen=True):
    """``host`` as people write it, ``url`` the registry's API without a trailing slash."""

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


def location(
    coordinates: OciCoordinates,
    job_id: str,
    *,
    insecure: bool = False,
    insecure_hosts: Collection[str] = (),
    own_computer: bool = False,
) -> Location:
    """The place of a job's card. Raises :class:`ExportRefused` for what no registry could accept.

    Plain HTTP is for registries that ``insecure`` (all) or ``insecure_hosts`` allow, since credentials go over the
    network in the clear. ``http://`` before a host asks for it; with ``own_computer`` a registry on this computer
    gets it without more.
    """
    scheme, _, rest = coordinates.oci_host.strip().lower().rpartition("://")
    host = rest.removesuffix("/")
    if scheme not in ("", "http", "https") or not _HOST.fullmatch(host) or not _possible(host):
        raise ExportRefused(
            f"exports.oci.coordinates.oci_host {coordinates.oci_host!r} is no registry; write host or host:port"
        )
    repository = coordinates.oci_repository
    if not _REPOSITORY.fullmatch(repository):
        raise ExportRefused(
            f"exports.oci.coordinates.oci_repository {repository!r} is no repository; write for example team/results "
            f"in small letters, digits and . _ - /"
        )
    tag = f"{coordinates.oci_tag or 'evaluation-card'}-{job_id}"
    if not _TAG.fullmatch(tag):
        raise ExportRefused(
            f"exports.oci.coordinates.oci_tag {coordinates.oci_tag!r} makes no tag: with the job's id it may have 128 "
            f"letters, digits and . _ -"
        )
    allowed = insecure or host in insecure_hosts
    near = own_computer and is_loopback(urlsplit(f"//{host}").hostname or "")
    if scheme == "http" and not (allowed or near):
        raise ExportRefused(
            f"{host} would be spoken to over plain HTTP; allow that with oci.insecure_registries: [{host}], or write "
            f"oci_host without http://"
        )
    plain = scheme == "http" or (allowed and not scheme)
    name = _DOCKER_HUB_API if canonical_host(host) == DOCKER_HUB else host
    return Location(host=host, url=f"{'http' if plain else 'https'}://{name}", repository=repository, tag=tag)


def _possible(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").port != 0
    except ValueError:  # a port beyond 65535, or brackets around what is no address
        return False


def canonical_host(text: str) -> str:
    """Lower case, without scheme and path, Docker Hub by one of its names: how credentials are found."""
    host = text.strip().lower().rpartition("://")[2].partition("/")[0]
    return DOCKER_HUB if host in _DOCKER_HUB_NAMES else host
