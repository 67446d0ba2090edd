"""The part of a runtime's contract that is about the logs of its workloads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from evalhub_server.domain.record import JobRecord
from evalhub_server.plugins.runtime_types import Handle, LogOptions, LogPart


class RuntimeLogs(ABC):
    """The logs of a :class:`Runtime`: only :meth:`logs` is required, the other methods make long logs cheap to follow."""

    name: str

    log_timestamps: bool = False
    """Whether :meth:`logs` prefixes lines with their time (RFC 3339, then a space) for :attr:`LogOptions.timestamps`."""

    log_poll_s: float = 2.0
    """Seconds between two calls of :meth:`read_log` while clients follow a log."""

    @property
    def logs_dir(self) -> Path | None:
        """The directory on this host that has the files of :meth:`log_files`; None if there are none."""
        return None

    @abstractmethod
    def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield the workload's output so far, also after its end; nothing if there is none.

        Unchanged bytes, with the newline after the last line if it has one. The server drops that newline and, of lines
        with carriage returns, all but the last version, unless all lines are requested.

        Called: for each request of a log, and once for the last 10 lines of a workload that ended without a result.
        Concurrency: calls overlap, also for the same handle and while the workload writes.
        Repeats: reads only.
        Cancellation: when the client has gone. The iterator is closed.
        Failure: after the first chunk, the answer is cut off; before it, it is 500. At the end of a workload, the text of the
            exception replaces the lines in the benchmark's error.
        Time limit: none.

        Raises:
            RuntimeUnavailable: before the first chunk, if the log cannot be read at present; clients get 503.
            RuntimeRefused: the same, and repeating the request does not help; clients get 500.
        """

    async def has_log(self, handle: Handle) -> bool:
        """Whether there is a log, which :meth:`logs` returned as empty: the adapter has started.

        Called: once for a workload that ended without a result and without output.
        Concurrency: as :meth:`logs`.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: the text of the exception replaces the last lines in the benchmark's error.
        Time limit: none.
        """
        return True

    async def read_log(self, handle: Handle, offset: int, limit_bytes: int) -> LogPart:
        """Return the workload's output from byte ``offset`` on, at most ``limit_bytes``; nothing if there is no more yet.

        This implementation reads the whole log with :meth:`logs`; override it where a log can be read from an offset.

        Called: every :attr:`log_poll_s` while clients follow the log, once for all of them, unless :meth:`follow_log` has it;
            and for clients that read a part of a log, in blocks of 64 KiB.
        Concurrency: calls overlap, also for the same handle and while the workload writes.
        Repeats: reads only.
        Cancellation: when no client follows any more.
        Failure: any exception is logged, and the call is repeated.
        Time limit: none.

        Raises:
            RuntimeUnavailable: the log cannot be read at present; the call is repeated.
        """
        found, position = bytearray(), 0
        async for chunk in self.logs(handle, LogOptions(tail_lines=-1)):
            found += chunk[max(0, offset - position) :]
            position += len(chunk)
            if len(found) >= limit_bytes:
                break
        data = bytes(found[:limit_bytes])
        return LogPart(data, offset + len(data))

    async def follow_log(self, handle: Handle, offset: int) -> AsyncIterator[bytes]:
        """Yield the workload's output from byte ``offset`` on as it is written, until the workload has ended.

        For a runtime whose system streams logs; by default it yields nothing.

        Called: while clients follow the log, once for all of them, and again when it returns; :meth:`read_log` then reads what may
            be missing.
        Concurrency: one iterator at a time for a handle, beside calls of :meth:`logs` and :meth:`read_log`.
        Repeats: reads only.
        Cancellation: within 0.5 seconds after the end of the benchmark, or when no client follows any more. The iterator is closed.
        Failure: any exception is logged, and the call is repeated.
        Time limit: none.

        Raises:
            RuntimeUnavailable: the log cannot be read at present; the call is repeated.
        """
        return
        yield

    async def log_offset(self, handle: Handle, tail_lines: int) -> int:
        """Return the offset in bytes at which the last ``tail_lines`` lines of the output begin. Raises as :meth:`logs` does.

        Called: once for each client that follows a log from its last lines on.
        Concurrency: as :meth:`logs`.
        Repeats: reads only.
        Cancellation: when the client has gone.
        Failure: after a RuntimeUnavailable the client gets the log from its beginning; anything else ends the answer.
        Time limit: none.
        """
        ends: deque[int] = deque([0], maxlen=tail_lines + 1)
        position = 0
        last = b"\n"
        async for chunk in self.logs(handle, LogOptions(tail_lines=-1)):
            ends.extend(position + index + 1 for index, byte in enumerate(chunk) if byte == 10)
            position += len(chunk)
            last = chunk[-1:] or last
        if last != b"\n":
            ends.append(position)
        return ends[0]

    async def log_source(self, handle: Handle | None, job_id: str, benchmark_index: int) -> tuple[str, str]:
        """Return the (pod, container) names in the header of a benchmark's log. Raises as :meth:`logs` does.

        Called: for each benchmark in a request of a job's whole log.
        Concurrency: as :meth:`logs`.
        Repeats: reads only.
        Cancellation: when the client has gone.
        Failure: as :meth:`logs`; after a RuntimeUnavailable for a later benchmark the header has ``unknown``.
        Time limit: none.
        """
        return f"{job_id}-{benchmark_index}", self.name

    async def remove_logs(self, job: JobRecord, note: str) -> None:
        """Remove the logs of an ended job that this host keeps, with what else its adapters left here.

        Its logs then consist of the line ``note``. By default nothing is removed.

        Called: by the retention policy, whose first pass is 30 seconds after the start and the next ones 900 seconds after the last.
        Concurrency: one call at a time.
        Repeats: idempotent.
        Cancellation: when the server stops.
        Failure: an OSError is logged, and the next pass repeats the call; anything else ends the pass.
        Time limit: none.

        Raises:
            OSError: something could not be removed.
        """
        return

    def log_files(self, job: JobRecord) -> list[Path]:
        """The logs of a job that are files on this host, in the order of its benchmarks. They need not exist.

        They are below :attr:`logs_dir`, at the same path on every host, and are backed up and restored as files.

        Called: by the retention policy for each job, and by the commands ``backup``, ``restore`` and ``verify``, which have not
            called :meth:`check`.
        Concurrency: on the event loop, or in a thread of a command.
        Repeats: computes paths only.
        Cancellation: never; it is a plain function.
        Failure: the pass or the command fails.
        Time limit: none; it must not block.
        """
        return []
