"""Responses and clients that leave: one that disconnects ends the work for it, one that stops reading is disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from litestar.types import Receive, Send

from evalhub_server.web.uvicorn_response import ABORT

_PIECE_BYTES = 64 * 1024
STALLED_S = 20.0
"""The connection of a reader that takes nothing for this long is closed, unless a setting allows more."""


def patience_s(timeout_s: float) -> float:
    """For how long a reader of a log may take nothing; ``timeout_s`` is the time limit for logs, 0 if there is none."""
    return max(timeout_s, STALLED_S)


class ReaderStalled(Exception):
    """The client does not take what is sent to it."""


def impatient(send: Send, stalled_s: float) -> Send:
    """``send`` that raises :class:`ReaderStalled` after waiting ``stalled_s`` for the client."""

    async def send_in_time(message: Any) -> None:
        limit = asyncio.timeout(stalled_s)
        try:
            async with limit:
                await send(message)
        except TimeoutError as error:
            if limit.expired():
                raise ReaderStalled from error
            raise

    return send_in_time


async def send_body(send: Send, chunk: bytes) -> None:
    """Send a part of a body in pieces, each of which a client takes soon."""
    for start in range(0, len(chunk), _PIECE_BYTES):
        piece = chunk[start : start + _PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": True})


async def respond(
    receive: Receive, send: Send, stalled_s: float, work: Callable[[Send], Coroutine[Any, Any, None]]
) -> None:
    """Run ``work``, which sends a response, until the client disconnects or takes nothing for ``stalled_s``.

    The body of the request must be read already.
    """
    try:
        await _until_disconnect(receive, work(impatient(send, stalled_s)))
    except ReaderStalled:
        # Closing would wait for the reader to take what is buffered.
        message: Any = {"type": ABORT}
        await send(message)


async def _until_disconnect(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work``; cancel it if the client disconnects first. The body of the request must be read already."""
    working = asyncio.create_task(work, name="response")
    leaving = asyncio.create_task(disconnected(receive), name="disconnect")
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def disconnected(receive: Receive) -> None:
    """Return when the client has closed the connection. The request has no body that is still to be read."""
    while (await receive())["type"] != "http.disconnect":
        pass
