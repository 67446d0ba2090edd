"""Files of one attempt to run a benchmark: job specification, log, pid, exit status and handle.

Beside ``meta/job.json`` and ``jobrun.log``, attempt n has in ``meta/``:

=====================  =======================  ==========================================================
attempt-n.handle.json  by the server            the handle, right after the start
attempt-n.pid          by the shim              the adapter's process id, right after the start, and its exit status:
                                                a line each; created exclusively before the start, so that of
                                                two starts one fails
attempt-n.fetch        by the server            a script that fetches the test data, before the command
attempt-n.revision     by that script           the commit of the test data
attempt-n.fetch-error  by that script           why the test data could not be fetched
attempt-n.exit         by the server            the exit status, if the shim was killed before; by earlier versions,
                                                minus the number of the signal that killed the adapter's shell
=====================  =======================  ==========================================================

A line without its newline was not written completely and is ignored.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType

from evalhub_runtime_local.process_table import Identity, read_all
from evalhub_runtime_local.process_tree import MARKER
from evalhub_server.plugins import Exit, Handle, JobSpec, LaunchError, UnsafePath, open_private

JOB_SPEC_PATH = "EVALHUB_JOB_SPEC_PATH"
TEST_DATA_FAILED = "test_data_failed"
_STATUS = re.compile(r"-?\d+\n")


class Framework(Struct, kw_only=True, frozen=True):
    """The framework of a managed environment, for the evaluation card."""

    name: str
    version: str


class LocalHandle(Struct, kw_only=True, frozen=True):
    """Handle of a workload. ``pid`` and ``started`` are 0 if it exited before they were recorded."""

    dir: str
    attempt: int
    job_spec: str
    pid: int
    started: float
    boot_id: str
    cgroup: str = ""
    framework: Framework | UnsetType = UNSET

    @property
    def leader(self) -> Identity:
        return Identity(self.pid, self.started)

    def plain(self) -> Handle:
        return msgspec.to_builtins(self)


class Attempt(Struct, kw_only=True, frozen=True):
    """Attempt ``number`` in a benchmark's ``directory``. The methods do small file I/O: call them in a thread.

    Paths are texts, since each launch needs many of them and :class:`Path` is slow.
    """

    directory: str
    number: int

    @property
    def meta(self) -> str:
        return f"{self.directory}/meta"

    @property
    def job_spec(self) -> str:
        return f"{self.directory}/meta/job.json"

    @property
    def log(self) -> str:
        return f"{self.directory}/jobrun.log"

    @property
    def samples(self) -> str:
        """The file for samples: a name of its own for each attempt, so that none reads those of an earlier one."""
        return f"{self.directory}/samples-{self.number}.jsonl"

    @property
    def previous_samples(self) -> str:
        """The file with samples of earlier runs; see :meth:`write_previous_samples`."""
        return f"{self.directory}/previous-samples-{self.number}.jsonl"

    @property
    def artifacts(self) -> str:
        """The directory for artifacts."""
        return f"{self.directory}/artifacts-{self.number}"

    @property
    def test_data(self) -> str:
        """The directory for test data that are fetched for this attempt."""
        return f"{self.directory}/test-data-{self.number}"

    @property
    def fetch_script(self) -> str:
        return f"{self.directory}/meta/attempt-{self.number}.fetch"

    @property
    def revision_file(self) -> str:
        return f"{self.directory}/meta/attempt-{self.number}.revision"

    @property
    def fetch_error(self) -> str:
        return f"{self.directory}/meta/attempt-{self.number}.fetch-error"

    @property
    def marker(self) -> str:
        return f"{self.directory}#{self.number}"

    @property
    def pid_file(self) -> str:
        return f"{self.directory}/meta/attempt-{self.number}.pid"

    @property
    def exit_file(self) -> str:
        return f"{self.directory}/meta/attempt-{self.number}.exit"

    @property
    def handle_file(self) -> str:
        return f"{self.directory}/meta/attempt-{self.number}.handle.json"

    def owns(self, environ: bytes) -> bool:
        """Does a process with this environment belong to this attempt?"""
        marker = _value(environ, MARKER)
        if marker is None:
            # A wrapper may have cleaned the environment but kept the variable that adapters need.
            return _value(environ, JOB_SPEC_PATH) == os.fsencode(self.job_spec)
        return marker == os.fsencode(self.marker)

    def any_attempt_owns(self, environ: bytes) -> bool:
        """Does a process with this environment belong to any attempt in this directory?"""
        marker = _value(environ, MARKER)
        return marker is not None and marker.rpartition(b"#")[0] == os.fsencode(self.directory)

    def write_job_spec(self, spec: JobSpec) -> None:
        """Raises :class:`OSError`, or :class:`LaunchError` if the spec holds what JSON cannot."""
        try:
            text = msgspec.json.format(msgspec.json.encode(spec), indent=2)
        except (ValueError, TypeError) as error:
            raise LaunchError(
                f"The job's definition cannot be written as JSON: {error}. Correct it."
            ) from error
        write_private(self.job_spec, text)

    def write_previous_samples(self, stored: Path | None) -> str | None:
        """Copy ``stored`` and what an earlier attempt left into a read-only file; None if there is nothing.

        Of several lines about one sample the last is the newest. Raises :class:`OSError`.
        """
        if stored is None and self.number == 1:
            return None
        before = Attempt(directory=self.directory, number=self.number - 1)
        sources = [stored] if stored is not None else []
        own = (before.previous_samples, before.samples) if self.number > 1 else ()
        with suppress(FileNotFoundError):
            os.unlink(self.previous_samples)  # noqa: PTH108
        with os.fdopen(open_own(self.previous_samples, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            for path in (*sources, *own):
                with suppress(FileNotFoundError):  # pruned since, or never written
                    opened = os.open(path, os.O_RDONLY) if path is stored else open_own(path, os.O_RDONLY)
                    with os.fdopen(opened, "rb") as source:
                        shutil.copyfileobj(source, file)
                    file.write(b"\n")  # the last line of a stopped adapter may be incomplete
            os.fchmod(file.fileno(), 0o400)
            if file.tell() > 0:
                return self.previous_samples
        os.unlink(self.previous_samples)  # noqa: PTH108
        return None

    def open_log(self) -> int:
        """Open the log for appending, empty; returns its descriptor. Raises :class:`OSError`."""
        return create_private(self.log, os.O_APPEND)

    def write_handle(self, handle: LocalHandle) -> None:
        write_private(self.handle_file, msgspec.json.encode(handle))

    def read_handle(self) -> LocalHandle | None:
        """Return the stored handle; None if there is none or it was not written completely."""
        try:
            return msgspec.json.decode(read_own(self.handle_file), type=LocalHandle)
        except (OSError, msgspec.MsgspecError):
            return None

    def read_pid(self) -> int | None:
        """Return the adapter's pid; 0 if the file is incomplete, None if there is none. Raises :class:`OSError`."""
        text = _text(self.pid_file)
        if text is None:
            return None
        pid, newline, _ = text.partition("\n")
        return int(pid) if newline and pid.isdecimal() else 0

    def record_exit(self, status: int) -> None:
        """Write the exit status, as the shim does, if it was killed before. Raises :class:`OSError`."""
        write_private(self.exit_file, b"%d\n" % status)

    def read_exit(self) -> Exit | None:
        """Return the recorded exit, or None. Raises :class:`OSError` if a file exists but cannot be read."""
        _, _, text = (_text(self.pid_file) or "").partition("\n")
        if not _STATUS.fullmatch(text):
            text = _text(self.exit_file) or ""
            if not _STATUS.fullmatch(text):
                return None
        return self.exit_of(int(text))

    def exit_of(self, status: int) -> Exit:
        """Return the exit for a recorded status, of which 128 + n means signal n: the convention of shells.

        Raises :class:`OSError` if the reason of a failed fetch exists but cannot be read.
        """
        if status == 0:
            return Exit(code=0)  # the ordinary case, without a look at its files
        if status < 0:
            return Exit(
                signal=signal_name(-status) or str(-status),
                message="the shell that ran the command was killed",
            )
        name = signal_name(status - 128)
        if name:
            return Exit(signal=name)
        failure = _text(self.fetch_error)
        return Exit(code=status) if failure is None else fetch_failed(failure, status)


def attempt_from(handle: LocalHandle) -> Attempt:
    """Return the attempt that a handle refers to."""
    return Attempt(directory=handle.dir, number=handle.attempt)


def fetch_failed(text: str, status: int) -> Exit:
    """Return the exit of an attempt whose test data could not be fetched, so that its adapter was not started."""
    explanation = f"The test data could not be fetched: {text.strip().rstrip('.')}"
    return Exit(code=status, reason=TEST_DATA_FAILED, message=explanation, hint="Check test_data_ref.")


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGKILL`` for 9; empty if there is no such signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def write_private(path: str, data: bytes) -> None:
    """Write a file that only this user can read, and that is this user's if it exists. Raises :class:`OSError`."""
    fd = create_private(path)
    try:
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def create_private(path: str, flags: int = 0) -> int:
    """Open an empty file for writing that only this user can read, also if it exists. Raises as :func:`open_own`."""
    fd = open_own(path, flags | os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.fchmod(fd, 0o600)
    return fd


def open_own(path: Path | str, flags: int) -> int:
    """Open a file as :func:`open_private` does. Raises :class:`OSError` (EPERM) instead of :class:`UnsafePath`."""
    try:
        return open_private(path, flags)
    except UnsafePath as error:
        raise OSError(errno.EPERM, str(error)) from error


def read_own(path: str) -> bytes:
    """Read a small file that is this user's. Raises :class:`OSError`."""
    fd = open_own(path, os.O_RDONLY)
    try:
        return read_all(fd)
    finally:
        os.close(fd)


def _text(path: str) -> str | None:
    try:
        return read_own(path).decode("utf-8", "replace")
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
