"""The files of one attempt to run a benchmark, and what they prove.

Beside ``meta/job.json`` and ``jobrun.log``, attempt n has in ``meta/``:

=====================  =======================  ==========================================================
attempt-n.handle.json  by the server            the handle, right after the start
attempt-n.pid          by the leader            its process id, before anything else; made exclusively, so of
                                                two leaders one runs the command and the other ends
attempt-n.exit         by the leader            the command's exit status and a newline; or by the server, when
                                                the leader itself was killed: minus the signal's number
=====================  =======================  ==========================================================

A status without its newline is one that was not written completely, and counts as none.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import msgspec
from msgspec import Struct

from evalhub_runtime_local.process_tree import Identity
from evalhub_server.domain.record import Exit
from evalhub_server.errors import LaunchError
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins import Handle

MARK = "EVALHUB_LOCAL_RUN"
"""Set last in an adapter's environment and inherited by what it starts: ``<directory>#<attempt>``."""

JOB_SPEC_PATH = "EVALHUB_JOB_SPEC_PATH"


class LocalHandle(Struct, kw_only=True, frozen=True):
    """``pid`` and ``started`` are 0 for a workload that ended before anybody noted them."""

    dir: str
    attempt: int
    job_spec: str
    pid: int
    started: float
    boot_id: str

    @property
    def leader(self) -> Identity:
        return Identity(self.pid, self.started)

    def plain(self) -> Handle:
        return msgspec.to_builtins(self)


class Attempt(Struct, kw_only=True, frozen=True):
    """Attempt ``number`` in a benchmark's ``directory``. The methods do small file I/O: call them in a thread."""

    directory: Path
    number: int

    @property
    def meta(self) -> Path:
        return self.directory / "meta"

    @property
    def job_spec(self) -> Path:
        return self.meta / "job.json"

    @property
    def log(self) -> Path:
        return self.directory / "jobrun.log"

    @property
    def mark(self) -> str:
        return f"{self.directory}#{self.number}"

    @property
    def pid_file(self) -> Path:
        return self.meta / f"attempt-{self.number}.pid"

    @property
    def exit_file(self) -> Path:
        return self.meta / f"attempt-{self.number}.exit"

    @property
    def handle_file(self) -> Path:
        return self.meta / f"attempt-{self.number}.handle.json"

    def carries(self, environ: bytes) -> bool:
        """Does a process with this environment belong to this attempt?"""
        mark = _value(environ, MARK)
        if mark is None:
            # Something between may have cleaned the environment and kept what adapters are documented to need.
            return _value(environ, JOB_SPEC_PATH) == os.fsencode(self.job_spec)
        return mark == os.fsencode(self.mark)

    def any_carries(self, environ: bytes) -> bool:
        """Does it belong to any attempt in this directory?"""
        mark = _value(environ, MARK)
        return mark is not None and mark.rpartition(b"#")[0] == os.fsencode(self.directory)

    def write_job_spec(self, spec: JobSpec) -> None:
        """Raises :class:`OSError`, or :class:`LaunchError` if the spec holds what JSON cannot."""
        try:
            text = msgspec.json.format(msgspec.json.encode(spec), indent=2)
        except (ValueError, TypeError) as error:
            raise LaunchError(
                f"The job's definition cannot be written as JSON: {error}. Correct it."
            ) from error
        write_private(self.job_spec, text)

    def write_handle(self, handle: LocalHandle) -> None:
        write_private(self.handle_file, msgspec.json.encode(handle))

    def read_handle(self) -> LocalHandle | None:
        """None also for one that was not written completely."""
        try:
            return msgspec.json.decode(self.handle_file.read_bytes(), type=LocalHandle)
        except (OSError, msgspec.MsgspecError):
            return None

    def read_pid(self) -> int | None:
        """What the leader wrote: 0 if it has begun to, None if no leader has been here. Raises :class:`OSError`."""
        text = _text(self.pid_file)
        if text is None:
            return None
        return int(text) if text.endswith("\n") and text.strip().isdecimal() else 0

    def record_signal(self, signum: int) -> None:
        write_private(self.exit_file, b"-%d\n" % signum)

    def read_exit(self) -> Exit | None:
        """None if there is none. Raises :class:`OSError`, for there may be one.

        A status above 128 that names a signal is taken for one: that is how a shell tells.
        """
        text = _text(self.exit_file)
        if text is None or not re.fullmatch(r"-?\d+\n", text):
            return None
        status = int(text)
        if status < 0:
            return Exit(
                signal=signal_name(-status) or str(-status),
                message="the shell that ran the command was killed",
            )
        name = signal_name(status - 128)
        return Exit(signal=name) if name else Exit(code=status)


def attempt_of(handle: LocalHandle) -> Attempt:
    return Attempt(directory=Path(handle.dir), number=handle.attempt)


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; empty if there is no such signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only this user can read, following no link. Raises :class:`OSError`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, 0o600)
        file.write(data)


def _text(path: Path) -> str | None:
    try:
        return path.read_text("ascii", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _value(environ: bytes, name: str) -> bytes | None:
    prefix = name.encode() + b"="
    if environ.startswith(prefix):
        start = 0
    else:
        start = environ.find(b"\0" + prefix) + 1
        if start == 0:
            return None
    value, _, _ = environ[start + len(prefix) :].partition(b"\0")
    return value
