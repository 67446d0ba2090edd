"""The contract of a runtime: how a benchmark's adapter is started, watched and stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from msgspec import Struct

from evalhub_server.domain.record import Exit, JobPlan, JobRecord
from evalhub_server.domain.url_rewriting import SidecarUrls
from evalhub_server.models.common import HardwareConfig, Json, Queue, TestDataRef
from evalhub_server.models.job import JobRequest
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins.hookspecs import JobChanged

Handle = Json
"""How a runtime finds a workload again, also after a restart of the server. Plain JSON; the core only stores it."""


class BenchmarkRun(Struct, kw_only=True, frozen=True):
    """One workload to start: benchmark ``spec.benchmark_index`` of job ``spec.id``, ``attempt`` counted from 1.

    ``config`` is the provider's entry for this runtime (``runtime.<provider_key>`` of the provider file), or None
    if it has none. ``environment`` is what trackers and telemetry ask the adapter to have.

    The rest is for runtimes that provide hardware and data: ``hardware`` is what the benchmark (else its job) asks
    for, ``queue`` the job's own, used where ``hardware`` leads to none; ``test_data`` names the data to put at
    ``/test_data``; ``oci_connection`` the secret with the registry credentials of the export.
    """

    spec: JobSpec
    attempt: int
    tenant: str = ""
    config: Json | None = None
    environment: Mapping[str, str] = {}
    hardware: HardwareConfig | None = None
    queue: Queue | None = None
    test_data: TestDataRef | None = None
    oci_connection: str = ""

    @property
    def key(self) -> tuple[str, int, int]:
        """(job id, benchmark index, attempt): names the workload, once and for ever."""
        return self.spec.id, self.spec.benchmark_index, self.attempt


class LogOptions(Struct, kw_only=True, frozen=True):
    """``tail_lines``: how many of the last lines, -1 for all. The other two are for runtimes that can."""

    tail_lines: int = 1000
    timestamps: bool = False
    since_seconds: int | None = None


class Limits(Struct, kw_only=True, frozen=True):
    """How many workloads this runtime wants to run at once; None means any number."""

    total: int | None = None
    per_provider: int | None = None
    per_model: int | None = None


class Notice(Struct, kw_only=True, frozen=True):
    """Something that people should know about a workload that has not ended.

    ``reason`` is a stable word for programs; ``message`` says what is the matter and what can be done.
    """

    reason: str
    message: str


class Runtime(ABC):
    """A way to run adapters. About 200 lines make a new one.

    Methods are called from one event loop, concurrently for different workloads. None may block that loop.
    """

    name: str
    """What logs and metrics call it."""

    provider_key: str
    """Its entry under ``runtime:`` in a provider file, such as ``local``."""

    limits: Limits = Limits()

    sidecar: SidecarUrls | None = None
    """Where adapters find server, model, tracker and registry, if that is another place than for everybody else.

    People get to read the real addresses: texts that adapters report are changed back.
    """

    exit_grace_s: float = 0.0
    """How long a result may still be on its way after ``wait`` has returned, where that is longer than usual."""

    observe: Callable[[JobChanged], Awaitable[None] | None] | None = None
    """Called with every committed change, as the hook ``evalhub_job_changed`` is; None: no interest."""

    @abstractmethod
    async def check(self) -> None:
        """Called once before anything else. Raise :class:`StartupError` with a hint if this host cannot run it."""

    async def admit(self, request: JobRequest, plan: JobPlan, tenant: str) -> None:
        """Called before a job is stored. Raise :class:`ApiError` to refuse what this runtime could never run.

        Nothing is started or kept here. The client waits, so look only at what can be known at once.
        """
        return

    @abstractmethod
    async def launch(self, run: BenchmarkRun) -> Handle:
        """Start the workload and return its handle.

        Idempotent per ``run.key``: when a crash hid an earlier launch from the core, this finds that workload,
        whether it still runs or has ended, and returns its handle instead of starting a second one. Raise
        :class:`LaunchError` if it cannot be started; then nothing of it may be left. Raise
        :class:`RuntimeUnavailable` if that cannot be said now (no quota, nobody answers): the core launches again,
        after a while, until the job is cancelled.

        If the caller is cancelled, end as soon as you can; whatever is there by then may stay, since the core
        launches again and gets the same handle or, if the job was cancelled, finds and stops it.
        """

    @abstractmethod
    async def find(self, run: BenchmarkRun) -> Handle | None:
        """Return the handle of the workload that an earlier launch of ``run.key`` started, running or ended.

        None if there was none, and none will come of a launch that was cancelled. A part of a workload counts as one:
        :meth:`stop` gets its handle. Starts nothing: it is asked for a benchmark that was cancelled during its launch,
        or while a crash hid whether it had been launched. Raise :class:`RuntimeUnavailable` to be asked again.
        """

    @abstractmethod
    async def wait(self, handle: Handle) -> Exit:
        """Return when the workload has ended, or at once if it already has.

        Works after a restart of the server, for a workload that ended meanwhile, and for one that is gone without
        a trace (``Exit(lost=True)``). Cancel-safe: a cancelled wait leaves the workload alone.
        """

    async def notices(self, handle: Handle) -> AsyncIterator[Notice | None]:
        """Yield what is to be said of a workload that has not ended, whenever that changes; None: nothing any more.

        Such as why it does not start, or that nobody knows just now how it is. The core shows the latest as the
        benchmark's warning, stops listening when the workload has ended, and listens anew after a restart.
        """
        return
        yield

    @abstractmethod
    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Ask the workload to end, give it ``grace_s`` seconds, then force it.

        Idempotent. Returns when nothing of it is alive, its descendants included; also takes what a workload that
        has already ended left running, but not its log. A handle whose process id now belongs to another process
        harms nobody. Where others end workloads (a cluster), it may return when that can no longer be stopped and
        ``grace_s`` is over.
        """

    @abstractmethod
    def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield the workload's output so far, also when it is gone; nothing if there is none.

        Raise :class:`RuntimeUnavailable` before the first chunk if it cannot be read now: clients get an error.
        """

    @abstractmethod
    async def remove(self, job_id: str, tenant: str) -> None:
        """Remove every trace of a tenant's job (files, logs, cluster objects).

        Idempotent. Nothing of it runs any more. Raise :class:`RuntimeUnavailable` if it cannot be done now: the
        client gets an error, and the record stays, so that it can be asked again.
        """

    async def log_source(self, handle: Handle | None, job_id: str, benchmark_index: int) -> tuple[str, str]:
        """Names for the header of a benchmark's log: (pod, container). Raises as :meth:`logs` does."""
        return f"{job_id}-{benchmark_index}", self.name

    async def docker_config(self, job: JobRecord) -> bytes | None:
        """Return the docker configuration (JSON) with which the job's artifacts are pushed to its registry.

        For a runtime that keeps its tenants' secrets: read the one that ``exports.oci.k8s.connection`` names; raise
        :class:`ExportRefused` if there is none, anything else to be asked again. None: that of the server's user,
        which is right where submitting a job means to be that user, as on this host.
        """
        return None

    async def close(self) -> None:
        """Let go of what the runtime holds. Workloads are left as they are."""
        return
