"""The contract of a runtime: how a benchmark's adapter is started, watched and stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping

from msgspec import Struct

from evalhub_server.domain.record import Exit, JobPlan, JobRecord
from evalhub_server.models.common import HardwareConfig, Json, Queue, TestDataRef
from evalhub_server.models.job import JobRequest
from evalhub_server.models.jobspec import JobSpec

Handle = Json
"""How a runtime finds a workload again, also after a restart of the server. Plain JSON; the core only stores it."""


class BenchmarkRun(Struct, kw_only=True, frozen=True):
    """One workload to start: benchmark ``spec.benchmark_index`` of job ``spec.id``, ``attempt`` counted from 1.

    ``config`` is the provider's entry for this runtime (``runtime.<provider_key>`` of the provider file), or None
    if it has none. ``environment`` is what trackers ask the adapter to have.

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


class Runtime(ABC):
    """A way to run adapters. About 200 lines make a new one.

    Methods are called from one event loop, concurrently for different workloads. None may block that loop.
    """

    name: str
    """What logs and metrics call it."""

    provider_key: str
    """Its entry under ``runtime:`` in a provider file, such as ``local``."""

    limits: Limits = Limits()

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
        :class:`LaunchError` if it cannot be started; then nothing of it may be left. If the caller is cancelled
        the workload may run: the core launches again and gets the same handle.
        """

    @abstractmethod
    async def find(self, run: BenchmarkRun) -> Handle | None:
        """Return the handle of the workload that an earlier launch of ``run.key`` started, running or ended.

        None if there was none. Starts nothing: it is asked for a benchmark that was cancelled while a crash hid
        whether it had been launched.
        """

    @abstractmethod
    async def wait(self, handle: Handle) -> Exit:
        """Return when the workload has ended, or at once if it already has.

        Works after a restart of the server, for a workload that ended meanwhile, and for one that is gone without
        a trace (``Exit(lost=True)``). Cancel-safe: a cancelled wait leaves the workload alone.
        """

    @abstractmethod
    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Ask the workload to end, give it ``grace_s`` seconds, then force it.

        Idempotent. Returns when nothing of it is alive, its descendants included; also takes what a workload that
        has already ended left running. A handle whose process id now belongs to another process harms nobody.
        """

    @abstractmethod
    def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield the workload's output so far, also when it is gone; nothing if there is none."""

    @abstractmethod
    async def remove(self, job_id: str) -> None:
        """Remove every trace of a job (files, logs, cluster objects). Idempotent. Nothing of it runs any more."""

    def log_source(self, handle: Handle | None, job_id: str, benchmark_index: int) -> tuple[str, str]:
        """Names for the header of a benchmark's log: (pod, container)."""
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
