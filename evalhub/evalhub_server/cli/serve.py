"""``eval-hub-server [--local]``: serve until a signal comes."""

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
from evalhub_server.cli.rlimits import raise_descriptor_limit
from evalhub_server.cli.server import Server
from evalhub_server.cli.signals import ignore_signals, on_signals
from evalhub_server.console_log import escaped
from evalhub_server.errors import EvalHubError, StartupError
from evalhub_server.logs import configure_logs, is_console
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import ServerFlags, load_settings

TERMINATION_FILE = "/opt/evalhub/work/termination-log"


def serve(**flags: Unpack[ServerFlags]) -> int:
    """Serve the API; returns 0 after SIGINT or SIGTERM. Raises :class:`StartupError`."""
    termination_file = os.environ.get("TERMINATION_FILE", "")
    try:
        plugins = load_plugins()
        settings = load_settings(**flags, plugin_sections=plugins.sections())
        termination_file = settings.service.termination_file or termination_file
        configure_logs(settings.log_level, secrets=settings.secrets.values, log_format=settings.log_format)
        raise_descriptor_limit()
        try:
            run_async(_serve_until_signal(Server(settings, plugins)))
        except EvalHubError as error:
            raise StartupError(settings.secrets.redact(str(error))) from None
        ignore_signals()
    except EvalHubError as error:
        if not flags["local"]:
            _leave_behind(str(error), Path(termination_file or TERMINATION_FILE))
        raise
    return 0


def _leave_behind(text: str, file: Path) -> None:
    """Where Kubernetes looks for the reason of an end; the directory is there only in a container made for it."""
    with contextlib.suppress(OSError):
        file.write_text(text + "\n", "utf-8")


def _banner(server: Server) -> str:
    data_dir = server.settings.data_dir
    data = escaped(str(data_dir)) if data_dir else "none"
    if not server.durable:
        data += " (everything is lost at exit; --data-dir DIR keeps it)"
    return (
        f"\nEvalHub Server {__version__}\n"
        f"  URL             {server.url} (API documentation: {server.url}/docs)\n"
        f"  Data directory  {data}\n"
        "  Ctrl-C to stop\n\n"
    )


async def _serve_until_signal(server: Server) -> None:
    on_signals(server.stop)
    async with server:
        gc.freeze()  # start-up objects live as long as the process: no collection needs to scan them
        if is_console(server.settings.log_format, sys.stderr):
            with contextlib.suppress(OSError):
                sys.stderr.write(_banner(server))
        await server.serve()


def run_async(main: Coroutine[Any, Any, Any]) -> Any:
    """Run on uvloop where there is one."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
