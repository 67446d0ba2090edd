"""Requests of the sidecar itself to the server, with the pod's credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from aiohttp import ClientError, ClientSession, ClientTimeout
from multidict import CIMultiDict

from evalhub_common.backoff import retry_after_s
from evalhub_sidecar.headers import forwarded_headers
from evalhub_sidecar.server import Server
from evalhub_sidecar.spool import Answer
from evalhub_sidecar.upstream import CONNECT_TIMEOUT_S

UNAUTHORIZED = 401

OpenBody = Callable[[], bytes | BinaryIO]
"""Returns the body, from its beginning; a file is read as it is sent, and closed."""


class ServerClient:
    """Sends one request at a time and reads the whole answer."""

    def __init__(self, session: ClientSession, server: Server) -> None:
        self._session = session
        self._server = server

    async def __call__(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        open_body: OpenBody,
        *,
        limited: bool = True,
    ) -> Answer | None:
        """The answer; None if the server could not be reached. A token that is refused is read again, once.

        Unless ``limited``, the wait for the answer has no limit: the server may process a large body first. Raises what ``open_body`` raises.
        """
        answer = await self._send(method, target, headers, open_body(), limited=limited)
        if answer is not None and answer.status == UNAUTHORIZED and self._server.forget_credentials():
            answer = await self._send(method, target, headers, open_body(), limited=limited)
        return answer

    async def _send(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        body: bytes | BinaryIO,
        *,
        limited: bool,
    ) -> Answer | None:
        sent = CIMultiDict(headers)
        authorization = await self._server.authorization()
        if authorization is not None:
            sent.popall("Authorization", None)
            sent["Authorization"] = authorization
        upstream = self._server.upstream
        try:
            options: dict[str, Any] = upstream.options(sent)
            if not limited:
                options["timeout"] = ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
            async with self._session.request(
                method,
                upstream.url(self._server.target(target)),
                data=body,
                allow_redirects=False,
                **options,
            ) as answer:
                kept = forwarded_headers(answer.headers, without=("content-length",))
                return Answer(
                    status=answer.status,
                    headers=plain_headers(kept),
                    body=await answer.read(),
                    retry_after_s=retry_after_s(answer.headers.get("Retry-After")) or 0.0,
                )
        except (ClientError, TimeoutError, OSError, ValueError):
            return None
        finally:
            if not isinstance(body, bytes):
                body.close()


def plain_headers(headers: CIMultiDict[str]) -> tuple[tuple[str, str], ...]:
    """Names as ``str``, which a multidict's are not always, for the file of a stored event."""
    return tuple((str(name), value) for name, value in headers.items())
