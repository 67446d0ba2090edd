"""The program of the shim: the parent process of a server's adapters, as a containerd shim is that of containers.

It starts adapters, each in a session of its own, and records their exits in files, also after its server is gone: it
ends when the server has closed the connection and no adapter runs any more.

It is run by the server's Python and imports little, so it starts fast. Standard input is a socket to the server. Each
message is a tuple in the format of :mod:`marshal` after its length in four bytes. The server sends

* ``("start", number, program, arguments, environment, cwd, log, record)``, answered by ``("started", number, pid)`` or
  ``("failed", number, errno, message, file)``, and after the exit by ``("exited", pid, status)``;
* ``("reap", pid)``, without an answer.

``record`` is a file that is created exclusively, so of two starts of one attempt the second fails. It has the process id
and the exit status, a line each; 128 + n stands for signal n, as in shells. A process whose exit is recorded stays a zombie
until ``reap``, so that its id is not used again while the server looks for processes of its session.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than everything else
    from types import FrameType
    from typing import Any

CONNECTION = 0
HEADER_BYTES = 4
CHUNK_BYTES = 1 << 16

_waitid = getattr(os, "waitid", None)  # not on macOS


def frame(*message: Any) -> bytes:
    """Encode a message."""
    data = marshal.dumps(message)
    return len(data).to_bytes(HEADER_BYTES, "big") + data


def take_messages(buffer: bytearray) -> list[tuple[Any, ...]]:
    """Remove the complete messages from the start of ``buffer`` and decode them."""
    messages: list[tuple[Any, ...]] = []
    start = 0
    while len(buffer) - start >= HEADER_BYTES:
        end = start + HEADER_BYTES + int.from_bytes(buffer[start : start + HEADER_BYTES], "big")
        if len(buffer) < end:
            break
        messages.append(marshal.loads(buffer[start + HEADER_BYTES : end]))  # noqa: S302  from our own process
        start = end
    del buffer[:start]
    return messages


class Shim:
    """The adapters of one server."""

    def __init__(self) -> None:
        self._home = _working_directory()
        self._records: dict[int, str] = {}
        """The files for the exit statuses of running adapters, by process id."""
        self._zombies: set[int] = set()
        """Adapters whose exits are recorded."""

    @property
    def running(self) -> bool:
        return bool(self._records)

    def handle(self, message: tuple[Any, ...]) -> bytes:
        """Do what a message asks for and return the response, which is empty for ``reap``."""
        kind, number, *launch = message
        if kind == "reap":
            self._reap(number)
            return b""
        try:
            return frame("started", number, self._start(*launch))
        except OSError as error:
            return frame("failed", number, error.errno, error.strerror, error.filename)
        except ValueError as error:
            return frame("failed", number, 0, str(error), None)

    def _start(
        self,
        program: str,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        cwd: str,
        log: str,
        record: str,
    ) -> int:
        """Start a process and return its id. Raises :class:`OSError` or :class:`ValueError`; then nothing runs."""
        fd = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            if cwd:
                os.chdir(cwd)
            pid = os.posix_spawn(
                program,
                arguments,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # which Python ignores
            )
        except BaseException:
            os.unlink(record)  # noqa: PTH108  pathlib takes longer to import than everything else
            raise
        else:
            self._records[pid] = record
            with suppress(OSError):  # the server has the id, too
                os.write(fd, b"%d\n" % pid)
            return pid
        finally:
            os.close(fd)
            if cwd:
                with suppress(OSError):
                    os.fchdir(self._home)

    def take_exits(self) -> bytes:
        """Record the exits since the last call, and return the messages about them."""
        messages = b""
        for pid in list(self._records):
            code = _exit_code(pid)
            if code is not None:
                status = shell_status(code)
                _record(self._records.pop(pid), pid, status)
                self._zombies.add(pid)
                messages += frame("exited", pid, status)
        return messages

    def reap_all(self) -> None:
        """Reap the adapters whose exits are recorded."""
        for pid in list(self._zombies):
            self._reap(pid)

    def _reap(self, pid: int) -> None:
        if pid in self._records:
            return  # its id was used again, where processes cannot be left as zombies
        self._zombies.discard(pid)
        with suppress(ChildProcessError):  # where processes cannot be left as zombies
            os.waitpid(pid, os.WNOHANG)


def _working_directory() -> int:
    try:
        return os.open(".", os.O_RDONLY)
    except OSError:  # the server may not read it: after an adapter with another one, they start in /
        return os.open("/", os.O_RDONLY)


def shell_status(code: int) -> int:
    """The exit status of a shell for an exit code, or for minus the signal that killed a process."""
    return code if code >= 0 else 128 - code


def _exit_code(pid: int) -> int | None:
    """The exit code of a child, or minus the signal that killed it; None while it runs. It stays a zombie, if possible."""
    if _waitid is None:
        found, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if found else None
    result = _waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _record(record: str, pid: int, status: int) -> None:
    with suppress(OSError):  # removed with its job, or the disk is full
        fd = os.open(record, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            # Both lines: the disk may have been full when the first was to be written.
            os.write(fd, b"%d\n%d\n" % (pid, status))
        finally:
            os.close(fd)


def _send(data: bytes) -> None:
    with suppress(OSError):  # the server is gone
        while data:
            data = data[os.write(CONNECTION, data) :]


def _wake(_signum: int, _frame: FrameType | None) -> None:
    """The number of the signal is in the pipe of :func:`signal.set_wakeup_fd`."""


def main() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # What a service manager sends to the whole group ends adapters. Their exits are still recorded.
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(signum, _wake)
    shim = Shim()
    buffer = bytearray()
    sources = [CONNECTION, reading]
    while CONNECTION in sources or shim.running:
        ready, _, _ = select.select(sources, (), ())
        if reading in ready:
            os.read(reading, CHUNK_BYTES)
            _send(shim.take_exits())
        if CONNECTION in ready:
            try:
                chunk = os.read(CONNECTION, CHUNK_BYTES)
            except ConnectionError:
                chunk = b""
            if not chunk:
                sources.remove(CONNECTION)
            buffer += chunk
            for message in take_messages(buffer):
                _send(shim.handle(message))
        if CONNECTION not in sources:
            shim.reap_all()
