"""The sidecar process: wiring, listening sockets and shutdown."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from aiohttp import ClientSession, web

from evalhub_common.addresses import is_loopback
from evalhub_common.durations import Duration
from evalhub_sidecar import logs
from evalhub_sidecar.cluster import ClusterRoutes
from evalhub_sidecar.config import TOKEN_CACHE, EvalHub, Local, Model, Oci, SidecarConfig
from evalhub_sidecar.errors import ConfigError, Refused
from evalhub_sidecar.event_files import EventFiles
from evalhub_sidecar.events import EventProxy, EventSender, job_of_events, with_revision
from evalhub_sidecar.forward import Forwarder, new_session
from evalhub_sidecar.handler import Route, handler
from evalhub_sidecar.job_spec import read_job_spec
from evalhub_sidecar.local import Guard, LocalRoutes
from evalhub_sidecar.local_jobs import LocalJobs, jobs_dir
from evalhub_sidecar.mlflow import Tracker
from evalhub_sidecar.model import ModelProxy
from evalhub_sidecar.oci import Registry
from evalhub_sidecar.paths import target_of
from evalhub_sidecar.pod_paths import PodPaths
from evalhub_sidecar.secret_dir import read_secret_dir
from evalhub_sidecar.server import Server
from evalhub_sidecar.server_client import ServerClient
from evalhub_sidecar.spool import Spool
from evalhub_sidecar.tokens import TokenFile
from evalhub_sidecar.uploads import SampleUploads

LOCAL_DRAIN_S = 2.5
"""``evalhub server stop`` kills the process after five seconds."""
GRACE = "TERMINATION_GRACE"
"""The environment variable with a pod's termination grace period, 30 s by default."""
EXIT_S = 2.0
"""The part of the grace period that is reserved for the exit itself."""
REQUESTS_SHARE = 0.8
"""The share of the shutdown time for open requests; the rest is for stored events."""
IDLE_S = 60.0
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def run(config: SidecarConfig, environ: Mapping[str, str] = os.environ) -> None:
    """Serve until SIGTERM or SIGINT. Raises :class:`ConfigError` if it cannot start."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    _on_signals(stopping.set)
    drain_s = LOCAL_DRAIN_S if config.local_mode else _grace_s(environ) - EXIT_S
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(new_session())
        parts = _local(config, environ, session) if config.local_mode else _cluster(config, environ, session)
        if parts.jobs is not None:
            await stack.enter_async_context(parts.jobs)
        await parts.spool.open()
        if parts.uploads is not None:
            parts.uploads.open()
        runner = web.ServerRunner(
            web.Server(  # pyright: ignore[reportArgumentType]  # its handlers return StreamResponse, as documented
                handler(parts.route),
                handler_cancellation=True,  # a model need not compute for a client that has disconnected
                auto_decompress=False,
                access_log=None,
                keepalive_timeout=IDLE_S,
            ),
            shutdown_timeout=drain_s * REQUESTS_SHARE,
        )
        await runner.setup()
        try:
            await _listen(runner, config)
            logs.info("Sidecar started", url=config.base_url, local=config.local_mode)
            await stopping.wait()
            logs.info("Sidecar stopping")
        finally:
            deadline = loop.time() + drain_s
            parts.spool.stop()
            await runner.cleanup()
            left_s = deadline - loop.time()
            uploading = asyncio.create_task(parts.uploads.run(left_s)) if parts.uploads else None
            await parts.spool.flush(left_s)
            if uploading is not None:
                await uploading
    logs.info("Sidecar stopped")


def _grace_s(environ: Mapping[str, str]) -> float:
    try:
        return max(Duration.parse(environ.get(GRACE) or "30s"), EXIT_S + 1)
    except ValueError as error:
        raise ConfigError(f"{GRACE}: {error}.") from None


class _Parts(NamedTuple):
    route: Route
    spool: Spool
    jobs: LocalJobs | None = None
    uploads: SampleUploads | None = None


def _local(config: SidecarConfig, environ: Mapping[str, str], session: ClientSession) -> _Parts:
    server = Server(config.eval_hub or EvalHub(), environ)
    spool = Spool(EventSender(ServerClient(session, server)))
    jobs = LocalJobs(jobs_dir(environ), server, session, config.local or Local())
    guard = Guard(config.address.hostname or "")
    return _Parts(LocalRoutes(Forwarder(session), server, EventProxy(spool), jobs, guard), spool, jobs)


def _cluster(config: SidecarConfig, environ: Mapping[str, str], session: ClientSession) -> _Parts:
    paths = PodPaths.from_environ(environ)
    job = read_job_spec(paths.job_spec)
    eval_hub, model = config.eval_hub or EvalHub(), config.model or Model()
    cache = eval_hub.token_cache_timeout
    service_token = TokenFile(str(paths.service_token), TOKEN_CACHE if cache is None else cache)
    server = Server(eval_hub, environ, service_token)
    client = ServerClient(session, server)
    spool = Spool(EventSender(client), _event_files(paths.event_spool, job.id))
    events = EventProxy(spool)
    if config.init_container and config.init_container.is_git_job:
        events = EventProxy(spool, with_revision(_revision(paths.revision)))
    registry = None
    if job.registry is not None:
        registry = Registry(config.oci or Oci(), job.registry, paths.docker_config, session)
    route = ClusterRoutes(
        job.id,
        Forwarder(session),
        server,
        events,
        Tracker(config.mlflow) if config.mlflow and config.mlflow.tracking_uri else None,
        registry,
        ModelProxy(model, read_secret_dir(model.auth_secret_mount_path), service_token)
        if model.url
        else None,
    )
    uploads = SampleUploads(client, config.samples, job) if config.samples and job.id else None
    return _Parts(route, spool, uploads=uploads)


def _is_own(job_id: str, target: str) -> bool:
    try:
        found = job_of_events(target_of(target))
        return found == job_id if job_id else found is not None
    except Refused:
        return False


def _event_files(directory: Path, job_id: str) -> EventFiles | None:
    """None without a volume for them; events are then stored in memory only."""
    if not directory.parent.is_dir() or not os.access(directory.parent, os.W_OK):
        return None
    return EventFiles(directory, partial(_is_own, job_id))


def _revision(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        logs.error("Revision of the test data cannot be read", path=str(file), error=str(error))
        return ""


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


async def _listen(runner: web.ServerRunner, config: SidecarConfig) -> None:
    """In a pod on all interfaces, for the kubelet's probe; on a workstation at the address of ``base_url`` only."""
    host, port = config.address.hostname or "", config.address.port or 0
    hosts: list[str | None] = [None]
    if config.local_mode:
        by_name = is_loopback(host) and not host[-1].isdigit()
        hosts = ["127.0.0.1", "::1"] if by_name else [host]
    for address in hosts:
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:
            if address == "::1" and len(hosts) > 1 and error.errno in _NO_IPV6:
                continue  # clients of "localhost" reach the other address
            raise ConfigError(
                f"cannot listen at {config.base_url}: {error.strerror or error}. Choose another port in base_url, or "
                "an address of this host."
            ) from None
