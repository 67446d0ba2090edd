"""``eval-hub-server serve``: runs a server until SIGINT, SIGTERM or SIGHUP."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Unpack

from evalhub_server import __version__
from evalhub_server.cli.server import Server
from evalhub_server.cli.signals import ignore_signals, on_signals
from evalhub_server.cli.systemd import Notifier, inherited_socket
from evalhub_server.console_log import escaped
from evalhub_server.errors import EvalHubError, StartupError
from evalhub_server.logs import configure_logs, flush_logs, is_console, write_text
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import ServerFlags, load_settings

TERMINATION_FILE = "/opt/evalhub/work/termination-log"
M_ARENA_MAX = -8
"""The parameter of mallopt(3)."""
OPEN_FILES = 65_536
"""Enough for thousands of adapters and clients, and few enough for programs that iterate over all possible descriptors."""
MACOS_OPEN_FILES = 10_240
"""OPEN_MAX of macOS, which refuses more, whatever the hard limit is."""
YOUNG_OBJECTS = 20_000
"""How many new objects start a garbage collection. After Python's 700, most are still in use by requests in progress."""


def serve(*, opens: bool = False, **flags: Unpack[ServerFlags]) -> int:
    """Serve the API; returns 0 after SIGINT or SIGTERM. ``opens``: open the pages in a browser. Raises :class:`StartupError`."""
    share_heap()  # before the first thread
    termination_file = os.environ.get("TERMINATION_FILE", "")
    notifier = Notifier.from_environment()
    try:
        inherited = inherited_socket()
        plugins = load_plugins()
        settings = load_settings(**flags, plugin_sections=plugins.sections())
        termination_file = settings.service.termination_file or termination_file
        configure_logs(settings.log_level, secrets=settings.secrets.values, log_format=settings.log_format)
        raise_descriptor_limit()
        try:
            server = Server(settings, plugins, inherited=inherited)
            run_async(_serve_until_signal(server, notifier, opens=opens))
        except EvalHubError as error:
            raise StartupError(settings.secrets.redact(str(error))) from None
        finally:
            flush_logs()  # before the error, which the caller prints
        ignore_signals()
    except EvalHubError as error:
        if not flags["local"]:
            _write_termination_message(str(error), Path(termination_file or TERMINATION_FILE))
        raise
    return 0


def _write_termination_message(text: str, file: Path) -> None:
    """Write the file from which Kubernetes reads the reason of an exit. Its directory exists only in such a container."""
    with contextlib.suppress(OSError):
        file.write_text(text + "\n", "utf-8")


def _banner(server: Server) -> str:
    data_dir = server.settings.data_dir
    data = escaped(str(data_dir)) if data_dir else "none"
    pages = f"  Pages           {server.url}/ui\n" if server.has_pages else ""
    if not server.durable:
        data += " (everything is lost at exit; --data-dir DIR keeps it)"
    return (
        f"\nEvalHub Server {__version__}\n"
        f"  URL             {server.url} (API documentation: {server.url}/docs)\n"
        f"{pages}"
        f"  Data directory  {data}\n"
        "  Ctrl-C to stop\n"
    )


async def _serve_until_signal(server: Server, notifier: Notifier, *, opens: bool) -> None:
    def stop() -> None:
        notifier.stopping()
        server.stop()

    on_signals(stop)
    async with server:
        gc.freeze()  # start-up objects live as long as the process: no collection needs to scan them
        gc.set_threshold(YOUNG_OBJECTS)
        gc.enable()
        if is_console(server.settings.log_format, sys.stderr):
            write_text(_banner(server))

        def started() -> None:
            notifier.ready(server.url)
            if opens and server.has_pages:
                from evalhub_server.cli.browser import open_in_browser

                asyncio.get_running_loop().run_in_executor(None, open_in_browser, server.pages_url)

        await server.serve(started)


def share_heap() -> None:
    """Let all threads allocate from one heap of glibc, unless ``MALLOC_ARENA_MAX`` is set.

    By default each thread has its own, and keeps what it has freed. That is for threads that run at the same time; those of this
    server take turns.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        import ctypes

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries do not have it
        if mallopt is not None:
            mallopt(M_ARENA_MAX, 1)


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files, often 1024, as far as the hard limit allows. Adapters inherit it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (OPEN_FILES, MACOS_OPEN_FILES):
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft == resource.RLIM_INFINITY or soft >= limit:
            return
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return


def run_async(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on uvloop, or on asyncio's loop on Windows."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
