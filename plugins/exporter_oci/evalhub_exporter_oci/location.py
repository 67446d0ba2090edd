"""The location of a job's artifact: registry, repository and tag, from the coordinates in the job."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from msgspec import Struct

from evalhub_server.plugins import (
    ExportRefused,
    OciCoordinates,
    coordinates_fault,
    is_loopback,
    registry_api_host,
    registry_of,
    tag_of,
)


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
    if fault := coordinates_fault(coordinates, job_id):
        raise ExportRefused(fault)
    scheme, host = registry_of(coordinates)
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
        repository=coordinates.oci_repository,
        tag=tag_of(coordinates, job_id),
    )
