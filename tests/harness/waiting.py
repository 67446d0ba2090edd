"""Waits for conditions, free ports, and look-ups of processes."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import TypeVar

T = TypeVar("T")

LOWEST_PORT, PORTS_PER_WORKER = 20_000, 1_500
"""Ports of servers under test lie below the ephemeral range (from 32,768); each pytest-xdist worker has its own."""
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_ports = count(secrets.randbelow(PORTS_PER_WORKER))


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = 30.0) -> T:
    """Return the first true value of ``condition``. After ``timeout_s``, fail with ``what`` in the message.

    The longer it has waited, the longer it pauses: on a busy machine, polling would take what it waits for.
    """
    started = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited_s = time.monotonic() - started
        if waited_s > timeout_s:
            raise AssertionError(f"not within {timeout_s} s: {what}; last seen: {value!r}")
        time.sleep(min(max(waited_s / 20, 0.02), 0.1))


def free_port() -> int:
    """A loopback port that is free, that the system assigns to no outgoing connection, and no other worker returns."""
    while True:
        port = LOWEST_PORT + _WORKER * PORTS_PER_WORKER + next(_ports) % PORTS_PER_WORKER
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


def processes_with(text: str, *, besides: Iterable[int] = ()) -> list[int]:
    """Pids of living processes that carry ``text`` in their environment or command line, without those of ``besides``."""
    # Imported here: pytest has to know first that it rewrites the assertions of the package.
    from evalhub_server.testing.processes import processes_of

    return list(processes_of([text], besides=besides))
