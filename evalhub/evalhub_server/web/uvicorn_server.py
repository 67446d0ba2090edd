"""uvicorn's server with an orderly stop: every request is answered, and idle connections delay nothing.

uvicorn waits for connections that are only being closed, which over TLS depends on the client, and reports requests that it
cancels as errors. These internals of ``uvicorn.Server`` are used here, and nowhere else: ``capture_signals`` and
``shutdown`` are replaced, ``startup`` is extended; ``started``, ``servers``, ``server_state.connections`` and ``server_state.tasks``
are read; ``config.host`` and ``config.port`` are set, and ``should_exit`` and ``force_exit`` by :class:`HttpServer`'s owner. Tests
run it with the lowest and the newest version that is allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import uvicorn

DRAIN_S = 1.0
"""How long a stop waits for requests in progress, and then for their responses to be sent."""
CANCELLATION_S = 1.0
"""How long it then waits for cancelled requests, which are answered with 503."""
CLOSE_S = 0.2
"""How long it waits for clients to close their side of a TLS connection."""
_POLL_S = 0.01


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handling, which re-raises the signal: the exit status would not be 0.

    ``on_started`` is called when requests are answered.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.on_started: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if sockets:
            self.config.host, self.config.port = sockets[0].getsockname()[
                :2
            ]  # which connections report as the server
        await super().startup(sockets)
        if self.started:
            self.on_started()

    @contextlib.contextmanager
    def capture_signals(self):  # pyright: ignore[reportUnknownParameterType]
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close idle connections, and let requests in progress end.

        After :data:`DRAIN_S`, or at once with ``force_exit``, the requests that are left are cancelled.
        """
        tasks, connections = self.server_state.tasks, self.server_state.connections
        for server in self.servers:
            server.close()
        for each in sockets or ():
            each.close()
        for connection in list(connections):
            connection.shutdown()
        await self._until(lambda: not tasks and not _busy(connections), DRAIN_S, forced=True)
        for connection in list(connections):
            _accept_an_incomplete_response(connection)
        for task in list(tasks):
            task.cancel()
        await self._until(lambda: not tasks and not _unsent(connections), CANCELLATION_S)
        for connection in list(connections):
            connection.transport.close()
        await self._until(lambda: not connections, CLOSE_S)
        for connection in list(connections):
            connection.transport.abort()

    async def _until(self, condition: Callable[[], bool], timeout_s: float, *, forced: bool = False) -> None:
        """Wait for the condition or the timeout; ``forced``: or for ``force_exit``."""
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline and not (forced and self.force_exit):  # noqa: ASYNC110  uvicorn has no events for this
            await asyncio.sleep(_POLL_S)


def _accept_an_incomplete_response(connection: Any) -> None:
    """Have uvicorn treat a response that has begun as one of a disconnected client: cutting it short is no error."""
    if connection.cycle is not None and connection.cycle.response_started:
        connection.cycle.disconnected = True


def _busy(connections: Any) -> bool:
    """Whether any connection may still get a request, or has data that are not sent yet."""
    return _unsent(connections) or any(not each.transport.is_closing() for each in connections)


def _unsent(connections: Any) -> bool:
    return any(each.transport.get_write_buffer_size() for each in connections)
