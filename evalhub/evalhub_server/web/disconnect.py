"""Work for a client that stops when the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from litestar.types import Receive


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work``; cancel it if the client disconnects first. The body of the request must be read already."""
    working = asyncio.create_task(work, name="response")
    disconnected = asyncio.create_task(_disconnected(receive), name="disconnect")
    try:
        await asyncio.wait((working, disconnected), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, disconnected):
            task.cancel()
        await asyncio.gather(working, disconnected, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
