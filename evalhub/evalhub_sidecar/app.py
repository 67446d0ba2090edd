"""The running sidecar: listens, serves, and ends when it is told to."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from types import FrameType

from aiohttp import web

from evalhub_sidecar import logs
from evalhub_sidecar.config import EvalHub, Local, SidecarConfig
from evalhub_sidecar.errors import ConfigError
from evalhub_sidecar.forward import Forwarder, new_session
from evalhub_sidecar.guard import Guard
from evalhub_sidecar.handler import Route, handler
from evalhub_sidecar.local import LocalRoutes
from evalhub_sidecar.localjobs import LocalJobs, jobs_dir
from evalhub_sidecar.server import Server
from evalhub_sidecar.upstream import is_loopback

LOCAL_DRAIN_S = 2.5
"""``evalhub server stop`` forces what has not ended after five seconds."""
CLUSTER_DRAIN_S = 28.0
"""A pod's grace is 30 s unless somebody changed it."""
IDLE_S = 60.0
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def run(config: SidecarConfig, environ: Mapping[str, str] = os.environ) -> None:
    """Serve until SIGTERM or SIGINT. Raises :class:`ConfigError` if it cannot start."""
    stopping = asyncio.Event()
    _on_signals(stopping.set)
    async with AsyncExitStack() as stack:
        route = await _local_routes(config, environ, stack)
        runner = web.ServerRunner(
            web.Server(  # pyright: ignore[reportArgumentType]  # its handlers return StreamResponse, as documented
                handler(route),
                handler_cancellation=True,  # a model need not go on thinking for a client that has left
                auto_decompress=False,
                access_log=None,
                keepalive_timeout=IDLE_S,
            ),
            shutdown_timeout=LOCAL_DRAIN_S if config.local_mode else CLUSTER_DRAIN_S,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await _listen(runner, config)
        logs.info("Sidecar started", url=config.base_url, local=config.local_mode)
        await stopping.wait()
        logs.info("Sidecar stopping")
    logs.info("Sidecar stopped")


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, partial(_from_thread, loop, stop))


def _from_thread(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None], _number: int, _frame: FrameType | None
) -> None:
    loop.call_soon_threadsafe(stop)


async def _local_routes(config: SidecarConfig, environ: Mapping[str, str], stack: AsyncExitStack) -> Route:
    session = await stack.enter_async_context(new_session())
    eval_hub = config.eval_hub or EvalHub()
    server = Server(eval_hub, environ)
    jobs = LocalJobs(jobs_dir(environ), server, session, config.local or Local())
    await stack.enter_async_context(jobs)
    return LocalRoutes(Forwarder(session), server, jobs, Guard(config.address.hostname or ""))


async def _listen(runner: web.ServerRunner, config: SidecarConfig) -> None:
    """In a pod on all interfaces, for the kubelet's probe; on a workstation where ``base_url`` says and nowhere else."""
    host, port = config.address.hostname or "", config.address.port or 0
    hosts: list[str | None] = [None]
    if config.local_mode:
        by_name = is_loopback(host) and not host[-1].isdigit()
        hosts = ["127.0.0.1", "::1"] if by_name else [host]
    for one in hosts:
        try:
            await web.TCPSite(runner, one, port).start()
        except OSError as error:
            if one == "::1" and len(hosts) > 1 and error.errno in _NO_IPV6:
                continue  # whoever asks for "localhost" comes to the other address
            raise ConfigError(
                f"cannot listen at {config.base_url}: {error.strerror or error}. Choose another port in base_url, or "
                "an address of this host."
            ) from None
