"""The server that a command uses: the one it names, the one on this computer, or one that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType

from evalhub_server.cli.signals import stop_signals
from evalhub_server.client import Client
from evalhub_server.environments.store import user_data_dir

DEFAULT_PORT = 8080
PROBE_S = 2.0


class Terminated(KeyboardInterrupt):
    """SIGTERM, or SIGHUP: there may be no terminal any more to ask on."""


@contextlib.contextmanager
def open_client(
    server: str | None, say: Callable[[str], None] | None = None
) -> Generator[Client, None, None]:
    """A client of ``server``, of ``EVALHUB_BASE_URL``, of the server at the default address, or of a temporary one.

    The default address is that of ``eval-hub-server --local``: http://localhost, with ``PORT`` or 8080. If no server
    answers there, one is started on :func:`data_directory`, or the one that another command has started there is used. It
    is stopped with the last command that uses it, and goes on while jobs are not finished. ``say`` gets lines about it.

    Meanwhile SIGTERM and SIGHUP raise :class:`Terminated`, so that everything is closed.

    Raises:
        ClientError: the address is wrong, or no server can be started.
    """
    say = say or _nothing
    token, tenant = _variable("EVALHUB_TOKEN"), _variable("EVALHUB_TENANT")
    with interrupted_by_signals():
        if url := server or _variable("EVALHUB_BASE_URL"):
            yield Client(url, token=token, tenant=tenant)
            return
        default = default_url()
        if Client(default, timeout_s=PROBE_S).is_healthy():
            say(f"Server: {default}")
            yield Client(default, token=token, tenant=tenant)
            return
        from evalhub_server.cli.local_server import local_server

        with local_server(data_directory(), say) as url:
            yield Client(url, token=token, tenant=tenant)


def default_url() -> str:
    """The address of ``eval-hub-server --local``."""
    return f"http://localhost:{_port()}"


def data_directory() -> Path:
    """``EVALHUB_DATA_DIR``, else ``evalhub`` in the user's directory for data of programs."""
    if value := _variable("EVALHUB_DATA_DIR"):
        return Path(value).expanduser().absolute()
    return user_data_dir()


@contextlib.contextmanager
def interrupted_by_signals() -> Generator[None, None, None]:
    """SIGTERM and SIGHUP raise :class:`Terminated`, so that what was begun is cleaned up."""
    numbers = [number for number in stop_signals() if number != signal.SIGINT]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _port() -> int:
    text = _variable("PORT") or ""
    return int(text) if text.isdecimal() and 0 < int(text) < 65536 else DEFAULT_PORT


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _nothing(_text: str) -> None:
    pass
