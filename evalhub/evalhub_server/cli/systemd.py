"""Interfaces to a service manager: an inherited listening socket (``LISTEN_FDS``) and notifications (``NOTIFY_SOCKET``).

Both are protocols of systemd, see sd_listen_fds(3) and sd_notify(3). The variables are removed from the environment, so that
adapters inherit neither.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Self

import structlog

from evalhub_server.errors import StartupError

log = structlog.get_logger()

FIRST_FD = 3
"""SD_LISTEN_FDS_START: the first descriptor that is passed."""


def inherited_socket(environ: MutableMapping[str, str] = os.environ) -> socket.socket | None:
    """Return the listening socket that a service manager opened for this process; None without socket activation.

    The manager keeps its own descriptor, so connections wait in the socket while no server runs. Adapters do not inherit it.
    Raises :class:`StartupError` unless it is exactly one listening TCP socket.
    """
    count, pid, _ = (environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    if not count or pid != str(os.getpid()):
        return None  # meant for another process, such as the shell that started this one
    if count != "1":
        raise _unusable(f"LISTEN_FDS is {count}")
    try:
        inherited = socket.socket(fileno=FIRST_FD)
        inherited.set_inheritable(False)
        listening = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise _unusable(f"descriptor {FIRST_FD} is not a socket: {error.strerror}") from None
    if inherited.family not in (socket.AF_INET, socket.AF_INET6):
        inherited.detach()
        raise _unusable("the socket is not an internet socket")
    if inherited.type != socket.SOCK_STREAM or not listening:
        inherited.detach()
        raise _unusable("the socket is not a listening stream socket")
    return inherited


def _unusable(problem: str) -> StartupError:
    return StartupError(
        f"socket activation: {problem}. The server needs one TCP socket: write one ListenStream= with an address and a port, "
        "such as 127.0.0.1:8080, into the socket unit."
    )


class Notifier:
    """Sends states to the service manager; does nothing without one."""

    def __init__(self, address: str = "") -> None:
        # A leading "@" is the abstract namespace of Linux.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Self:
        """Take the address from ``NOTIFY_SOCKET``, which is removed."""
        return cls(environ.pop("NOTIFY_SOCKET", ""))

    def ready(self, url: str) -> None:
        """Requests are answered at ``url`` from now on."""
        self._send(f"READY=1\nSTATUS=Listening at {url}")

    def stopping(self) -> None:
        """The server has begun to stop."""
        self._send("STOPPING=1\nSTATUS=Stopping")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        with (
            suppress(AttributeError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):  # no AF_UNIX on Windows
            sender.setblocking(False)
            try:
                sender.sendto(state.encode(), self._address)
            except OSError as error:
                log.warning("Service manager not notified", error=str(error))
