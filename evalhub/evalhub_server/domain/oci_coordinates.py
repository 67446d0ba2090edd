"""Grammar of OCI coordinates, after the distribution specification 1.1: registry, repository and tag."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from evalhub_server.models.job import OciCoordinates

MAX_REPOSITORY_CHARACTERS = 255
JOB_ID_CHARACTERS = 36
DEFAULT_TAG = "evaluation-card"
# Only such text may become a part of a URL.
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


def registry_of(coordinates: OciCoordinates) -> tuple[str, str]:
    """(scheme, host) of the registry; the scheme is ``http``, ``https`` or empty. Only for valid coordinates."""
    scheme, _, rest = coordinates.oci_host.strip().lower().rpartition("://")
    return scheme, rest.removesuffix("/")


def tag_of(coordinates: OciCoordinates, job_id: str) -> str:
    """The tag of a job's card."""
    return f"{coordinates.oci_tag or DEFAULT_TAG}-{job_id}"


def coordinates_fault(coordinates: OciCoordinates, job_id: str = "0" * JOB_ID_CHARACTERS) -> str:
    """What makes the coordinates invalid, and what to write instead; empty if they are valid."""
    scheme, host = registry_of(coordinates)
    if scheme not in ("", "http", "https") or not _HOST.fullmatch(host) or not _has_valid_port(host):
        return f"exports.oci.coordinates.oci_host {coordinates.oci_host!r} is not a registry; write host or host:port"
    repository = coordinates.oci_repository
    if len(repository) > MAX_REPOSITORY_CHARACTERS or not _REPOSITORY.fullmatch(repository):
        return (
            f"exports.oci.coordinates.oci_repository {repository!r} is not a repository; write for example team/results "
            f"in lower-case letters, digits and . _ - /"
        )
    if not _TAG.fullmatch(tag_of(coordinates, job_id)):
        return (
            f"exports.oci.coordinates.oci_tag {coordinates.oci_tag!r} is not a valid tag: with the job's id it may have 128 "
            f"letters, digits and . _ -"
        )
    return ""


def _has_valid_port(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").port != 0
    except ValueError:  # a port beyond 65535, or brackets around text that is not an address
        return False
