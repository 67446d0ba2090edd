"""HTTP requests of the client, on the standard library."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from evalhub_common.http_auth import userinfo_auth
from evalhub_common.proxies import find_proxy
from evalhub_common.urls import split_http_url, without_userinfo
from evalhub_server.client.errors import (
    ClientError,
    InvalidServerUrl,
    NotAuthorized,
    ResourceNotFound,
    ResponseError,
    Unreachable,
    Unsupported,
)
from evalhub_server.errors import FieldError

CHUNK_BYTES = 65_536
Value = str | int | float | bool | Sequence[str] | None
"""A query parameter. None leaves it out; several texts are alternatives (``a|b``)."""


class Answer(NamedTuple):
    """A successful response. ``etag`` and ``warning`` are empty if the server sends none; ``body`` is None after a 304."""

    body: bytes | None
    etag: str = ""
    warning: str = ""


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of an error response."""

    message: str
    message_code: str = ""
    errors: tuple[FieldError, ...] = ()


def warning_text(header: str) -> str:
    """The text of a header of the form ``299 - "TEXT"``; empty for another form."""
    quoted = header.partition('"')[2].rpartition('"')[0]
    return re.sub(r"\\(.)", r"\1", quoted)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are errors: urllib would send the token to the other address as well."""

    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        return None


class Transport:
    """Sends requests to one server.

    ``timeout_s`` limits the time without any byte from the server. Proxies are those of the environment
    (:func:`evalhub_common.proxies.find_proxy`); certificates are verified with the system's, or ``SSL_CERT_FILE``.
    """

    def __init__(self, url: str, token: str | None, tenant: str | None, timeout_s: float) -> None:
        parts = split_http_url(url.strip())
        if parts is None:
            raise InvalidServerUrl(f"{url!r} is not the http or https URL of a server.")
        self.url = without_userinfo(parts)._replace(query="", fragment="").geturl().rstrip("/")
        self.timeout_s = timeout_s
        self._headers = {"Accept": "application/json, text/plain, */*"}
        if authorization := f"Bearer {token}" if token else userinfo_auth(parts):
            self._headers["Authorization"] = authorization
        if tenant:
            self._headers["X-Tenant"] = tenant
        for name, value in self._headers.items():
            if not (value.isascii() and value.isprintable()):
                raise InvalidServerUrl(f"the value for {name} has characters that a header cannot have.")
        try:
            proxy = find_proxy(self.url)
        except ValueError as error:
            raise InvalidServerUrl(str(error)) from None
        proxies = {parts.scheme: proxy.url_with_userinfo} if proxy else {}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _NoRedirects())

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Value] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send a request and read the response.

        Raises:
            Unreachable: no complete response.
            Unsupported: the server does not have the route or a query parameter.
            ResponseError: any other status than 2xx and 304.
        """
        try:
            with self._open(method, path, query, body, headers, timeout_s) as response:
                etag, warning = (response.headers.get(name, "") for name in ("ETag", "Warning"))
                return Answer(response.read(), etag, warning_text(warning))
        except _NotModified as answer:
            return Answer(None, answer.etag)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def stream(
        self,
        path: str,
        query: Mapping[str, Value] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[bytes]:
        """The body of a GET as it arrives. Raises what :meth:`request` raises; the connection is closed with the iterator."""
        try:
            with self._open("GET", path, query, None, headers, timeout_s) as response:
                while chunk := response.read1(CHUNK_BYTES):
                    yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, Value] | None,
        body: Any,
        headers: Mapping[str, str] | None,
        timeout_s: float | None,
    ) -> http.client.HTTPResponse:
        data = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(  # noqa: S310  http or https, see __init__
            self.url + path + _query_string(query or {}),
            data,
            {**self._headers, **(headers or {})},
            method=method,
        )
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            return self._opener.open(request, timeout=timeout_s or self.timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 304:
                    raise _NotModified(error.headers.get("ETag", "")) from None
                location = error.headers.get("Location", "")
                raise _error_of(error.code, error.read(), location, self.url, method, path) from None
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from None

    def _unreachable(self, error: object) -> ClientError:
        if isinstance(error, TimeoutError):
            reason = "it did not answer in time"
        else:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unreachable(f"the server at {self.url} cannot be reached: {reason}.")


class _NotModified(Exception):
    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


def _query_string(query: Mapping[str, Value]) -> str:
    pairs = [(name, _text(value)) for name, value in query.items() if value is not None and value != ()]
    return "?" + urllib.parse.urlencode(pairs) if pairs else ""


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) or value is None else "|".join(value)


def _error_of(status: int, body: bytes, location: str, url: str, method: str, path: str) -> ClientError:
    try:
        error = msgspec.json.decode(body, type=ErrorBody)
    except msgspec.MsgspecError:
        error = None
    if status in (404, 405) and (error is None or error.message_code == "method_not_allowed"):
        return Unsupported(
            f"the server at {url} has no {method} {path}. Is it an EvalHub server, and new enough for this?"
        )
    if 300 <= status < 400:
        return ResponseError(
            f"the server at {url} redirects to {location or 'another address'}; use its final address.",
            status,
        )
    if error is None:
        text = " ".join(body.decode("utf-8", "replace").split())[:200]
        error = ErrorBody(f"the server at {url} answered with status {status}: {text or 'no text'}")
    if error.message_code == "query_bad_parameter":
        return Unsupported(error.message)
    if status in (401, 403):
        return NotAuthorized(error.message, status, error.message_code, error.errors)
    kind = ResourceNotFound if status == 404 else ResponseError
    return kind(error.message, status, error.message_code, error.errors)


def decode(body: bytes | None) -> Any:
    """The JSON of a response. Raises :class:`Unreachable` for anything else, such as the page of a proxy."""
    try:
        return msgspec.json.decode(body or b"")
    except msgspec.MsgspecError:
        raise Unreachable("the response is not JSON. Is this the address of an EvalHub server?") from None
