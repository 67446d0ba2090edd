"""Forwarding of requests to an upstream, with streamed bodies in both directions."""

from __future__ import annotations

import os
from collections.abc import Callable

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientSSLError,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
    web,
)
from multidict import CIMultiDict

from evalhub_sidecar import logs
from evalhub_sidecar.errors import bad_gateway
from evalhub_sidecar.headers import TRANSACTION_ID, forwarded_headers
from evalhub_sidecar.upstream import ProxyError, Upstream

IDLE_CONNECTION_S = 4.0
"""Shorter than the five seconds after which common Python servers close an idle connection, possibly during a new request."""

ChangeHeaders = Callable[[CIMultiDict[str]], None]


def new_session() -> ClientSession:
    """The connections to all upstreams: unlimited in number, without decoding and cookies."""
    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S),
        auto_decompress=False,
        cookie_jar=DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )


class Forwarder:
    """Streams requests and responses, whatever their size and duration, with constant memory."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def __call__(
        self,
        request: web.BaseRequest,
        upstream: Upstream,
        target: str,
        transaction_id: str,
        *,
        authorization: str | None = None,
        change_headers: ChangeHeaders | None = None,
    ) -> web.StreamResponse:
        """Send the request to ``target`` (path and query) of the upstream, and return its response after it was sent.

        ``authorization`` replaces the client's header; None keeps it, and an empty one removes it.
        ``change_headers`` modifies the headers of the response. Raises :class:`Refused` before anything was sent.
        """
        headers = forwarded_headers(request.headers)
        headers.setdefault(TRANSACTION_ID, transaction_id)
        if authorization is not None:
            headers.popall("Authorization", None)
            if authorization:
                headers["Authorization"] = authorization
        elif upstream.basic:
            headers.setdefault("Authorization", upstream.basic)
        try:
            answer = await self._session.request(
                request.method,
                upstream.url(target),
                data=request.content if request.body_exists else None,
                allow_redirects=False,
                **upstream.options(headers),
            )
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            logs.warning(
                "Upstream request failed",
                upstream=upstream.name,
                method=request.method,
                path=request.path,
                error=str(error) or problem(error),
            )
            raise bad_gateway(upstream.name, problem(error)) from error
        async with answer:
            kept = forwarded_headers(answer.headers)
            kept.setdefault(TRANSACTION_ID, transaction_id)
            if change_headers is not None:
                change_headers(kept)
            response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=kept)
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except (ClientError, TimeoutError, OSError) as error:
                logs.warning(
                    "Upstream response was incomplete",
                    upstream=upstream.name,
                    method=request.method,
                    path=request.path,
                    error=problem(error),
                )
                # A regular end would make the response look complete.
                if request.transport is not None:
                    request.transport.abort()
                return response
            await response.write_eof()
            return response


def problem(error: BaseException) -> str:
    """Description of an error, without the upstream's address, which the adapter need not know."""
    match error:
        case ProxyError():
            return str(error)
        case TimeoutError():
            return "it did not answer in time"
        case ClientConnectorDNSError():
            return "its name is not known"
        case ClientConnectorCertificateError() | ClientSSLError():
            return "its certificate is not trusted, or it speaks no TLS"
        case ServerDisconnectedError():
            return "it hung up without an answer"
        case ClientConnectorError(os_error=OSError(errno=int(number))):
            return os.strerror(number)
        case ClientConnectorError():
            return "it cannot be connected to"
        case OSError(errno=int(number)):
            return os.strerror(number)
        case _:
            return type(error).__name__
