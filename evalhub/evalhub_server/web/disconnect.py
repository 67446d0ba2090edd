"""Work for a client that stops when the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from litestar.types import Receive


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
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
