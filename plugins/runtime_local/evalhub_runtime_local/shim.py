"""The server's side of the shim, which is the parent process of its adapters; see :mod:`shim_process`."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from io import FileIO
from typing import Any, NamedTuple, cast

import structlog

from evalhub_runtime_local.process_table import reap
from evalhub_runtime_local.shim_process import frame, take_messages

log = structlog.get_logger()

ARGUMENTS = ("-P", "-c", "from evalhub_runtime_local.shim_process import main; main()")
START_WAIT_S = 30.0
"""A shim that takes longer to start an adapter hangs, for example in a dead network file system, and is killed."""
CLOSE_WAIT_S = 2.0
REAP_PAUSE_S = 0.001
REAP_WAIT_S = 0.1
MAX_ERROR_BYTES = 1 << 16


class Launch(NamedTuple):
    """What the shim is to start: ``program`` is a path, ``cwd`` is empty for the server's own.

    Standard output and error are appended to the file ``log``; the file ``record`` must not exist.
    """

    program: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    cwd: str
    log: str
    record: str


class ShimLost(OSError):
    """The shim has ended, so it is not known whether the adapter was started."""


class Shim:
    """Starts the shim at the first launch, and again if it was killed. Use it from one event loop."""

    def __init__(self) -> None:
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self._numbers = itertools.count()

    @property
    def pid(self) -> int | None:
        """The process id of the shim; None if none runs."""
        connection = self._connection
        return None if connection is None or connection.lost else connection.pid

    async def start(self, launch: Launch) -> int:
        """Start an adapter and return its process id. After a cancellation it is started all the same.

        Raises :class:`OSError`, or :class:`ValueError` if an argument cannot be passed; then nothing runs. Raises
        :class:`ShimLost` if that is not known.
        """
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._connected()
        number = next(self._numbers)
        started = connection.starts[number] = asyncio.get_running_loop().create_future()
        connection.send("start", number, *launch)
        try:
            async with asyncio.timeout(START_WAIT_S):
                return await started
        except TimeoutError:
            connection.kill()
            raise ShimLost(
                f"The parent process of the adapters did not start one within {START_WAIT_S:.0f} s"
            ) from None

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.lost:
                self._connection = await _connect()
            return self._connection

    def exit_of(self, pid: int) -> asyncio.Future[int | None] | None:
        """The exit status of an adapter that the shim has started: 128 + n for signal n; None if the shim has ended before.

        None instead of a future if it was not started by this shim.
        """
        return None if self._connection is None else self._connection.exits.get(pid)

    def reap(self, pid: int) -> bool:
        """Reap an adapter that has exited; returns False if this shim did not start it, or was killed."""
        connection = self._connection
        if connection is None or connection.lost or connection.exits.pop(pid, None) is None:
            return False
        connection.send("reap", pid)
        return True

    async def close(self) -> None:
        """Disconnect. The shim ends with the last of its adapters: is there none, return when it has ended."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _connect() -> _Connection:
    """Start a shim. Raises :class:`OSError`."""
    with ExitStack() as near_ends, ExitStack() as far_ends:
        ours, theirs = socket.socketpair()
        near_ends.enter_context(ours)
        far_ends.enter_context(theirs)
        reading, writing = os.pipe()
        errors = near_ends.enter_context(FileIO(reading))
        far_ends.callback(os.close, writing)
        for fd in (reading, writing):  # neither process ever waits for the other here
            os.set_blocking(fd, False)
        pid = _spawn(theirs.fileno(), writing)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(lambda: _Connection(pid, errors), sock=ours)
        near_ends.pop_all()
    return connection


def _spawn(connection: int, errors: int) -> int:
    try:
        return _spawn_program(sys.executable, connection, errors)
    except OSError:
        if sys.platform != "linux":
            raise
    # The path may be out of reach, as that of root's Python after setpriv, or another version may be installed just now.
    return _spawn_program("/proc/self/exe", connection, errors)


def _spawn_program(program: str, connection: int, errors: int) -> int:
    return os.posix_spawn(
        program,
        [sys.executable, *ARGUMENTS],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, connection, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, errors, 2),
        ],
        setsid=True,
        setsigmask=(),
        # The server may have inherited ignored signals, which adapters would, too: SIGHUP from nohup, SIGINT from "&".
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )


class _Connection(asyncio.Protocol):
    """The connection to one shim, whose process id is ``pid``, and whose standard error is the pipe ``errors``."""

    def __init__(self, pid: int, errors: FileIO) -> None:
        self.pid = pid
        self._errors = errors
        self.lost = False
        self._closing = False
        self.starts: dict[int, asyncio.Future[int]] = {}
        """Requests without a response, by their number."""
        self.exits: dict[int, asyncio.Future[int | None]] = {}
        """By the process ids of adapters that are not reaped."""
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, *message: object) -> None:
        self._transport.write(frame(*message))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for message in take_messages(self._buffer):
            self._take(*message)

    def _take(self, kind: str, key: int, *values: Any) -> None:
        match kind:
            case "exited":
                if key in self.exits:
                    settle(self.exits[key], *values)
            case "started":
                self.exits[values[0]] = self._loop.create_future()
                settle(self.starts.pop(key), *values)
            case _:
                number, text, file = values
                settle(self.starts.pop(key), OSError(number, text, file) if number else ValueError(text))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        with self._errors:
            lines = (self._errors.read(MAX_ERROR_BYTES) or b"").decode(errors="replace").split("\n")
        reason = next((line for line in reversed(lines) if line), "it was killed")
        if not self._closing:
            log.warning(
                "Parent process of local adapters ended; the next launch starts another",
                pid=self.pid,
                reason=reason,
            )
            self._loop.call_later(REAP_WAIT_S, reap, self.pid)
        for started in self.starts.values():
            settle(started, ShimLost(f"The parent process of the adapters ended ({reason})"))
        for exited in self.exits.values():
            settle(exited, None)
        self._ended.set()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        self._closing = True
        if any(not exited.done() for exited in self.exits.values()):
            self._transport.close()
            return
        if not self.lost:
            self._transport.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT_S):
                await self._ended.wait()
                # Its end of the connection is closed a moment before it has exited.
                while not reap(self.pid):  # noqa: ASYNC110  nothing tells
                    await asyncio.sleep(REAP_PAUSE_S)
        self._transport.close()


def settle(future: asyncio.Future[Any], outcome: object) -> None:
    """Set the result or, if it is one, the exception of a future, unless its owner was cancelled."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
