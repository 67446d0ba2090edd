"""The job as the server keeps it.

Records are frozen and share what did not change. A storage finds by ``is`` what it has to write: the
definition (rarely), the job's own fields, and the benchmarks that an event touched.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from evalhub_server.models.common import HardwareConfig, Json, Message, PrimaryScore, State, TestDataRef
from evalhub_server.models.job import BenchmarkTest, JobRequest, JobTest, MetricSchema


class PlannedBenchmark(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An effective benchmark: what is left when collection, override and provider defaults are merged."""

    id: str
    provider_id: str
    weight: float = 1.0
    primary_score: PrimaryScore | None = None
    threshold: float | None = None
    parameters: Json = {}
    test_data_ref: TestDataRef | None = None
    hardware_config: HardwareConfig | None = None


class JobPlan(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Snapshot made at create, so that later edits of providers and collections never hurt a stored job.

    ``runtimes`` holds, per provider id, the provider's ``runtime`` mapping. ``threshold`` is the job's own.
    """

    benchmarks: tuple[PlannedBenchmark, ...]
    runtimes: dict[str, dict[str, Json]] = {}
    threshold: float = 0.5


class Exit(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What happened to a workload; what it means is for :mod:`evalhub_server.domain.diagnosis` to say.

    ``code`` is the exit status, or None when a signal ended it or nobody knows. ``signal`` is a name such as
    ``SIGKILL``. ``reason`` is a stable word of the runtime's (``OOMKilled``); ``message`` its text for people.
    ``lost``: the workload is gone and left no status.
    """

    code: int | None = None
    signal: str = ""
    reason: str = ""
    message: str = ""
    lost: bool = False


class ResultRecord(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a terminal report brought."""

    metrics: Json = {}
    metrics_schema: tuple[MetricSchema, ...] = ()
    additional_info: Json = {}
    artifacts: Json = {}
    mlflow_run_id: str = ""
    logs_path: str = ""
    test: BenchmarkTest | None = None


class BenchmarkRecord(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One benchmark of a job: its reported state, its result, and its workload.

    ``provisional``: the server failed it because its workload ended without a report; a real report may still
    replace that. ``launched_at`` without ``handle``: a launch was intended and may have happened. ``exit``: the
    workload has ended and nothing of it runs.
    """

    index: int
    state: State = State.PENDING
    phase: str = ""
    error: Message | None = None
    warning: Message | None = None
    started_at: str = ""
    completed_at: str = ""
    result: ResultRecord | None = None
    provisional: bool = False
    attempt: int = 1
    launched_at: datetime | None = None
    handle: Json | None = None
    exit: Exit | None = None

    @property
    def has_workload(self) -> bool:
        """May something of this benchmark be running?"""
        return self.launched_at is not None and self.exit is None


class TrackedExperiment(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The tracker's experiment that a job reports into; ``url`` is the tracker's API base."""

    id: str
    url: str = ""


class JobRecord(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A job. ``request`` and ``plan`` are its definition; everything else changes as it runs.

    ``tenant`` and ``owner`` are empty where nobody was named. Times are UTC with microseconds.
    """

    id: str
    tenant: str = ""
    owner: str = ""
    created_at: datetime
    updated_at: datetime
    request: JobRequest
    plan: JobPlan
    state: State = State.PENDING
    message: Message
    test: JobTest | None = None
    cancelled: bool = False
    experiment: TrackedExperiment | None = None
    benchmarks: tuple[BenchmarkRecord, ...]

    @property
    def open(self) -> bool:
        """Is there anything left to do or to watch? A storage lists these jobs at start-up."""
        return not self.state.terminal or any(b.has_workload for b in self.benchmarks)
