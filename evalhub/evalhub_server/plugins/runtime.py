"""The contract of a runtime: how the adapter of a benchmark is started, watched and stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import Exit, JobPlan, JobRecord
from evalhub_server.domain.url_rewriting import SidecarUrls
from evalhub_server.models.common import HardwareConfig, Json, Queue, TestDataRef
from evalhub_server.models.job import JobRequest
from evalhub_server.models.jobspec import JobSpec

Handle = Json
"""Identifies a workload, also after a restart of the server. Plain JSON that only the runtime interprets, except
``framework: {name, version}``, which the evaluation card shows."""


class BenchmarkRun(Struct, kw_only=True, frozen=True):
    """One workload to start: benchmark ``spec.benchmark_index`` of job ``spec.id``; ``attempt`` counts from 1.

    ``config`` is the provider's entry for this runtime (``runtime.<provider_key>`` of the provider file), or None
    without one. ``environment`` has the variables that trackers and telemetry need in the adapter.

    The other fields are for runtimes that provide hardware and data. ``hardware`` is the benchmark's request, else the
    job's. ``queue`` is the job's own, for hardware that implies none. ``test_data`` describes the data to
    provide; the variable ``EVALHUB_TEST_DATA_DIR`` tells the adapter the directory. ``test_data_path`` is a
    directory of this host to use instead, for a runtime with :attr:`Runtime.takes_test_data_paths`. ``oci_connection`` is the secret with the registry credentials of the export. ``previous_samples`` is the
    server's own file with samples of the benchmark that this one repeats: the adapter gets a copy, or nothing.
    """

    spec: JobSpec
    attempt: int
    tenant: str = ""
    config: Json | None = None
    environment: Mapping[str, str] = {}
    hardware: HardwareConfig | None = None
    queue: Queue | None = None
    test_data: TestDataRef | None = None
    test_data_path: str = ""
    oci_connection: str = ""
    previous_samples: Path | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """(job id, benchmark index, attempt): identifies the workload; never reused."""
        return self.spec.id, self.spec.benchmark_index, self.attempt


class LogOptions(Struct, kw_only=True, frozen=True):
    """Which part of a log to return.

    ``tail_lines`` is the number of lines from the end; -1 returns all. Runtimes that cannot support ``timestamps`` and
    ``since_seconds`` ignore them.
    """

    tail_lines: int = 1000
    timestamps: bool = False
    since_seconds: int | None = None


class LogPart(NamedTuple):
    """A part of a log. ``end`` is the offset in bytes at which the next one begins.

    That is where ``data`` ends, unless something was removed from the log: ``data`` may then be a line of the runtime's that
    reports it, and the next part begins after the gap.
    """

    data: bytes
    end: int


class Limits(Struct, kw_only=True, frozen=True):
    """Maximum numbers of workloads that run at the same time; None is no limit."""

    total: int | None = None
    per_provider: int | None = None
    per_model: int | None = None


class Notice(Struct, kw_only=True, frozen=True):
    """A warning about a workload that has not ended.

    ``reason`` is a stable word for programs; ``message`` describes the cause and the remedy.
    """

    reason: str
    message: str


class SampleFiles(Struct, kw_only=True, frozen=True):
    """Where an adapter on this host leaves its samples, a file, and its artifacts, a directory. Neither need exist."""

    samples: Path
    artifacts: Path


class Readiness(Struct, kw_only=True, frozen=True):
    """Whether the adapters of a provider can be started: ``reason`` is empty if they can.

    ``reason`` is a phrase ("it is not installed"), ``fix`` a sentence. ``job_refused``: a job of the
    provider is refused, not only expected to fail.
    """

    reason: str = ""
    fix: str = ""
    job_refused: bool = False


class Runtime(ABC):
    """A way to run adapters. A small one takes about 200 lines.

    Methods are called from one event loop, concurrently for different workloads. None may block that loop.
    """

    name: str
    """Its name in logs and metrics, and in the records of the benchmarks that it launched."""

    provider_key: str
    """Its entry under ``runtime:`` in a provider file, such as ``local``."""

    on_this_host: bool = True
    """Whether it starts programs on the server's host. What can write to the data directory can then run commands, so the
    group of a mounted volume is refused there."""

    limits: Limits = Limits()
    """How many workloads it can run at the same time."""

    sidecar: SidecarUrls | None = None
    """URLs at which its adapters find server, model, tracker and registry, if they differ from the configured ones.

    The server replaces these URLs by the configured ones in what adapters report.
    """

    log_timestamps: bool = False
    """Whether :meth:`logs` prefixes lines with their time (RFC 3339, then a space) for :attr:`LogOptions.timestamps`."""

    exit_grace_s: float = 0.0
    """Seconds for which a result may still arrive after :meth:`wait` has returned, if more than the server's own grace."""

    takes_test_data_paths: bool = False
    """Whether its adapters can read directories of this host as test data."""

    hands_over_samples: bool = False
    """Whether its adapters get a place for samples: files on this host (:meth:`sample_files`), or a volume that is uploaded."""

    log_poll_s: float = 2.0
    """Seconds between two calls of :meth:`read_log` while clients follow a log."""

    upload_grace_s: float = 0.0
    """Seconds after the end of a workload for which its samples may still be uploaded, where :meth:`sample_files` is None."""

    observe: Callable[[JobChanged], Awaitable[None] | None] | None = None
    """Called with every committed change, like :meth:`Observer.job_changed`; None if not needed."""

    async def remove_logs(self, job: JobRecord, note: str) -> None:
        """Remove the logs of an ended job that this host keeps, with what else its adapters left here.

        Its logs then consist of the line ``note``. Idempotent. By default nothing is removed.

        Raises:
            OSError: something could not be removed.
        """
        return

    @property
    def logs_dir(self) -> Path | None:
        """The directory on this host that has the files of :meth:`log_files`; None if there are none."""
        return None

    def log_files(self, job: JobRecord) -> list[Path]:
        """The logs of a job that are files on this host, in the order of its benchmarks. They need not exist.

        They are below :attr:`logs_dir`, at the same path on every host, and are backed up and restored as files.
        """
        return []

    @abstractmethod
    async def check(self) -> None:
        """Check that this host can run adapters. Called once, before all other methods.

        Raises:
            StartupError: it cannot; the text names the remedy.
        """

    def readiness(self, entry: Json | None) -> Readiness | None:
        """Whether this host can start the adapters of a provider with this entry; None if that is not known.

        Called for each provider in a list: looks at a few files at most. Clients see it as ``runnable``.
        """
        return None

    def readiness_state(self) -> str:
        """A text that changes when :meth:`readiness` may return something else for an entry that it was called with."""
        return ""

    async def admit(self, request: JobRequest, plan: JobPlan, tenant: str) -> None:
        """Refuse a job that this runtime could never run. Called before a job is stored, while the client waits.

        Starts and stores nothing. Check only what can be known immediately.

        Raises:
            ApiError: the response for the client.
        """
        return

    @abstractmethod
    async def launch(self, run: BenchmarkRun) -> Handle:
        """Start the workload and return its handle.

        Idempotent per ``run.key``: if a workload with that key exists, running or ended, because the server crashed
        after an earlier launch, its handle is returned and no second workload is started.

        Cancellation: return as soon as possible. Whatever exists by then may stay: the server launches again and gets
        the same handle or, if the job was cancelled, finds the workload with :meth:`find` and stops it.

        Raises:
            LaunchError: the workload cannot be started; nothing of it is left. The text becomes the benchmark's error.
            RuntimeUnavailable: unknown at present (no quota, no connection). The server retries until the job is
                cancelled, and shows the text as the benchmark's warning.
        """

    @abstractmethod
    async def find(self, run: BenchmarkRun) -> Handle | None:
        """Return the handle of the workload that an earlier launch of ``run.key`` started, running or ended.

        None if there is none and a cancelled launch cannot create one any more. A partly created workload counts:
        its handle is passed to :meth:`stop`. Starts nothing. Called for a benchmark that was cancelled during its
        launch, or if a crash left open whether it was launched.

        Raises:
            RuntimeRefused: it cannot be found out; the benchmark then ends as lost.
            RuntimeUnavailable: unknown at present; the server retries.
        """

    @abstractmethod
    async def wait(self, handle: Handle) -> Exit:
        """Return when the workload has ended; immediately if it already has.

        Works after a restart of the server, for a workload that ended meanwhile, and for one that is gone without
        a trace (``Exit(lost=True)``). Several callers may wait for one handle. Cancel-safe: a cancelled wait leaves the
        workload running.
        """

    async def age_s(self, handle: Handle) -> float | None:
        """Return for how many seconds the workload has run, independently of the host's clock; None if that is unknown.

        The deadlines of a workload that an earlier server launched are computed from it, else from the stored time of its
        launch. 0 for a workload that has ended.
        """
        return None

    async def notices(self, handle: Handle) -> AsyncIterator[Notice | None]:
        """Yield a warning about a workload that has not ended whenever it changes; None withdraws it.

        For example why it does not start, or that its state is unknown at present. The server shows the latest as the
        benchmark's warning, closes the iterator when the workload has ended, and calls this again after a restart.
        """
        return
        yield

    @abstractmethod
    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Terminate the workload: request it, wait up to ``grace_s`` seconds, then force it.

        Idempotent. Returns when no process of the workload is alive, descendants included. Also terminates what an ended
        workload left running, and keeps its log. Must not affect another process that has got the process id of the
        workload. Where other systems terminate workloads (a cluster), it may return when termination is irrevocable and
        ``grace_s`` is over.

        Raises:
            RuntimeRefused: the workload may still run, and what it depends on refuses to stop it.
            RuntimeUnavailable: unknown at present; the server retries.
        """

    @abstractmethod
    def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield the workload's output so far, also after its end; nothing if there is none.

        Unchanged bytes, with the newline after the last line if it has one. The server drops that newline and, of lines
        with carriage returns, all but the last version, unless all lines are requested.

        Raises:
            RuntimeUnavailable: before the first chunk, if the log cannot be read at present; clients get an error.
            RuntimeRefused: the same, and repeating the request does not help.
        """

    async def has_log(self, handle: Handle) -> bool:
        """Whether there is a log, which :meth:`logs` returned as empty: the adapter has started."""
        return True

    async def sample_files(self, handle: Handle) -> SampleFiles | None:
        """Return where an ended workload left samples and artifacts on this host; None if it uploads them.

        The server reads them in the background, also after a restart, and again after a crash, so they must stay until
        :meth:`remove`.
        """
        return None

    async def read_log(self, handle: Handle, offset: int, limit_bytes: int) -> LogPart:
        """Return the workload's output from byte ``offset`` on, at most ``limit_bytes``; nothing if there is no more yet.

        Called every :attr:`log_poll_s` while clients follow the log, once for all of them, unless :meth:`follow_log` has
        it. This implementation reads the
        whole log with :meth:`logs`; override it where a log can be read from an offset.

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

        For a runtime whose system streams logs; by default it yields nothing. The server calls it again when it returns, reads
        with :meth:`read_log` what may be missing, and closes the iterator when the benchmark has ended.

        Raises:
            RuntimeUnavailable: the log cannot be read at present; the call is repeated.
        """
        return
        yield

    async def log_offset(self, handle: Handle, tail_lines: int) -> int:
        """Return the offset in bytes at which the last ``tail_lines`` lines of the output begin. Raises as :meth:`logs` does."""
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

    @abstractmethod
    async def remove(self, job_id: str, tenant: str) -> str | None:
        """Remove every trace of a tenant's job: files, logs, cluster objects. Nothing of it runs any more.

        Idempotent. Returns a sentence for the client about what is left, because its removal is refused or goes on in the
        background; nothing if there is nothing left.

        Raises:
            RuntimeUnavailable: it cannot be done at present. The client gets an error, and the record of the job is kept
                so that the request can be repeated.
        """

    async def log_source(self, handle: Handle | None, job_id: str, benchmark_index: int) -> tuple[str, str]:
        """Return the (pod, container) names in the header of a benchmark's log. Raises as :meth:`logs` does."""
        return f"{job_id}-{benchmark_index}", self.name

    async def docker_config(self, job: JobRecord) -> bytes | None:
        """Return the docker configuration (JSON) with which the job's artifacts are pushed to its registry.

        For a runtime with a store of its tenants' secrets: read the one that ``exports.oci.k8s.connection`` names. None
        selects the configuration of the server's user, which is right where clients act as that user, as on a
        workstation. Any exception except :class:`ExportRefused` is retried.

        Raises:
            ExportRefused: the secret does not exist.
        """
        return None

    async def close(self) -> None:
        """Release connections and tasks. Workloads keep running."""
        return
