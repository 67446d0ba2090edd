"""Errors of the Kubernetes API: refusals, and failures that a retry can overcome."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
import msgspec
from msgspec import Struct

from evalhub_server.plugins import EvalHubError, RuntimeUnavailable, retry_after_s

TRANSIENT = frozenset({401, 429, 500, 502, 503, 504})
"""Statuses that are retried; 401, because tokens are rotated while in use and may be late."""
UNAVAILABLE = "cluster_unavailable"


class Status(Struct, frozen=True):
    """Fields of the API's ``Status`` objects that are read."""

    message: str = ""
    reason: str = ""
    code: int = 0


class ApiRefusal(EvalHubError):
    """The API refused a request. ``reason`` is the API's, such as ``AlreadyExists``."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def missing(self) -> bool:
        return self.status == 404

    @property
    def exists(self) -> bool:
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        return self.status == 409 and self.reason != "AlreadyExists"

    @property
    def expired(self) -> bool:
        """Whether the version that a list or a watch continues from is too old."""
        return self.status == 410

    @property
    def forbidden(self) -> bool:
        return self.status == 403

    @property
    def without_namespace(self) -> bool:
        """Whether the namespace of the object does not exist."""
        return self.missing and str(self).startswith("namespaces ")

    @property
    def namespace_terminating(self) -> bool:
        return self.forbidden and "because it is being terminated" in str(self)

    @property
    def without_right(self) -> bool:
        """Whether the server's account lacks a right, which the text names. Not a quota or a policy."""
        return self.forbidden and " cannot " in str(self)

    @property
    def over_quota(self) -> bool:
        return self.status == 403 and "exceeded quota" in str(self)


class Transient(RuntimeUnavailable):
    """The API cannot serve the request now. ``retry_after_s`` is the delay that it requests, None without one.

    ``limited``: it works and limits the number of requests.
    """

    def __init__(self, host: str, status: int, raw: bytes, headers: Mapping[str, str]) -> None:
        text = read_status(raw).message or f"status {status}"
        super().__init__(f"the Kubernetes API at {host} is unavailable: {text}", UNAVAILABLE)
        self.limited = status == 429
        self.retry_after_s = retry_after_s(headers.get("Retry-After"))


def read_status(raw: bytes) -> Status:
    """Parse the body of an error response; a body of another form becomes the message."""
    try:
        return msgspec.json.decode(raw, type=Status)
    except msgspec.MsgspecError:
        return Status(message=raw[:200].decode("utf-8", "replace"))


def raise_for(status: int, raw: bytes) -> None:
    """Raise :class:`ApiRefusal` unless the HTTP status is a success."""
    if 200 <= status < 300:
        return
    parsed = read_status(raw)
    raise ApiRefusal(
        status, parsed.reason, parsed.message or f"the Kubernetes API answered with status {status}"
    )


async def check(response: aiohttp.ClientResponse) -> None:
    """Raise :class:`ApiRefusal` unless the response is a success."""
    if not 200 <= response.status < 300:
        raise_for(response.status, await response.read())


def warnings_of(response: aiohttp.ClientResponse) -> tuple[str, ...]:
    """Return the texts of ``Warning`` headers, which are of the form ``299 - "text"``."""
    return tuple(
        header.partition('"')[2].rpartition('"')[0].replace('\\"', '"') or header
        for header in response.headers.getall("Warning", [])
    )
