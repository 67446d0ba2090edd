"""A persistent HTTP connection that posts JSON, with failures classified into a few kinds.

Built on ``http.client``, which is imported quickly. Redirects are not followed, and the proxy settings of the
environment are not used: adapters mostly connect to local servers.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from evalhub_common.adapter.errors import ConnectionFailed

if TYPE_CHECKING:
    import ssl

CONNECT_TIMEOUT_S = 10.0
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True)
class Target:
    """The parts of an absolute http or https URL. ``path`` may be empty."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The URL without its query, which is a key for some services."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse_url(url: str) -> Target:
    """Split ``url``.

    Raises:
        ValueError: it is not an absolute http(s) URL, or it has a user name or a password. The text does not
            contain the URL, so that no password reaches a log.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be an absolute URL such as http://127.0.0.1:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a user name or password in the URL is not supported: use model.auth.secret_ref")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("its port must be a number from 1 to 65535") from error
    if any(character <= " " or character > "~" for character in parts.hostname + parts.path + parts.query):
        raise ValueError("it must not contain spaces, control characters or unescaped non-ASCII characters")
    port = port or (443 if parts.scheme == "https" else 80)
    return Target(parts.scheme, parts.hostname, port, parts.path, parts.query)


def tls_context(target: Target, ca_file: str | None, *, verify: bool = True) -> ssl.SSLContext | None:
    """The TLS settings for all connections to ``target``; None for plain http.

    Raises:
        OSError: ``ca_file`` cannot be read or contains no certificate.
    """
    if target.scheme != "https":
        return None
    import ssl  # an expensive import that plain http does not need

    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True)
class Answer:
    """One HTTP response. ``elapsed_s`` runs from sending the request to the last byte of the body.

    ``lines`` are the lines of a stream of server-sent events that was requested as one, each with the seconds from sending
    the request to its arrival.
    """

    status: int
    retry_after: str | None
    body: bytes
    elapsed_s: float
    lines: tuple[tuple[float, bytes], ...] = field(default=(), repr=False)


class JsonConnection:
    """A connection to one target, opened at the first request, reopened after the peer closed it. For one thread.

    ``timeout_s`` limits each wait for the peer (connecting: at most 10 s), not their sum.
    """

    def __init__(
        self,
        target: Target,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        context: ssl.SSLContext | None,
    ) -> None:
        self._target = target
        self._path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        self._timeout_s = timeout_s
        connect_timeout_s = min(timeout_s, CONNECT_TIMEOUT_S)
        if target.scheme == "https":
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                target.host, target.port, timeout=connect_timeout_s, context=context
            )
        else:
            self._http = http.client.HTTPConnection(target.host, target.port, timeout=connect_timeout_s)

    def post(self, body: bytes, *, streamed: bool = False) -> Answer:
        """Send ``body`` and read the whole response, whatever its status.

        With ``streamed``, the arrival of each line of server-sent events is recorded.

        Raises:
            ConnectionFailed: there was no response; the connection is closed, and the next call opens a new one.
        """
        reused = bool(self._http.sock)
        try:
            return self._exchange(body, streamed=streamed)
        except ConnectionFailed as failure:
            # A server may close an idle connection at any time: not a failure of this request.
            if not reused or failure.kind != "reset":
                raise
            return self._exchange(body, streamed=streamed)

    def close(self) -> None:
        """Close the connection if it is open."""
        self._http.close()

    def _exchange(self, body: bytes, *, streamed: bool) -> Answer:
        answered = False
        try:
            if not self._http.sock:
                self._http.connect()
                self._http.sock.settimeout(self._timeout_s)
            started = time.perf_counter()
            self._http.request("POST", self._path, body, self._headers)
            response = self._http.getresponse()
            lines: tuple[tuple[float, bytes], ...] = ()
            if streamed and response.getheader("Content-Type", "").startswith(EVENT_STREAM):
                lines = tuple(_arrivals(response, started))
                content = b"".join(line for _, line in lines)
            else:
                content = response.read(ANSWER_LIMIT_BYTES + 1)
            elapsed_s = time.perf_counter() - started
            if len(content) > ANSWER_LIMIT_BYTES:
                raise ConnectionFailed("protocol", f"the answer is larger than {ANSWER_LIMIT_BYTES} bytes")
            if response.length:  # Content-Length announced more than the peer sent
                raise http.client.IncompleteRead(content, response.length)
            answered = True
            return Answer(response.status, response.getheader("Retry-After"), content, elapsed_s, lines)
        except (OSError, http.client.HTTPException) as error:
            raise _classified(error, self._target, self._timeout_s) from error
        finally:
            if not answered:
                self._http.close()


def _arrivals(response: http.client.HTTPResponse, started: float) -> Iterator[tuple[float, bytes]]:
    """The lines of a response with the seconds since ``started``; up to the first one above the limit of an answer."""
    size = 0
    while size <= ANSWER_LIMIT_BYTES and (line := response.readline(ANSWER_LIMIT_BYTES + 1)):
        yield time.perf_counter() - started, line
        size += len(line)


def _classified(
    error: OSError | http.client.HTTPException, target: Target, timeout_s: float
) -> ConnectionFailed:
    import ssl  # http.client has imported it already

    if isinstance(error, socket.gaierror):
        return ConnectionFailed(
            "name", f"the host name '{target.host}' cannot be resolved ({error.strerror})"
        )
    if isinstance(error, TimeoutError):
        return ConnectionFailed("timeout", f"no answer (waited up to {timeout_s:g} s)")
    if isinstance(error, ssl.SSLError):
        return ConnectionFailed("tls", f"the TLS handshake failed ({error})")
    if isinstance(error, ConnectionRefusedError):
        return ConnectionFailed("refused", "connection refused")
    if isinstance(error, (ConnectionError, http.client.IncompleteRead)):
        return ConnectionFailed("reset", "the connection was closed before a complete answer")
    if isinstance(error, http.client.HTTPException):
        return ConnectionFailed("protocol", f"the answer is not HTTP ({type(error).__name__})")
    return ConnectionFailed("network", error.strerror or str(error))
