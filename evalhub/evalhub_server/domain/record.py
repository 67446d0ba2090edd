"""The job as the server keeps it.

Records are frozen and share what did not change. A storage finds by ``is`` what it has to write: the
definition (rarely), the job's own fields, and the benchmarks that an event touched.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

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
    ``lost``: the workload is gone and left no status. A runtime that knows what happened better than the exit status
    tells makes ``message`` the whole explanation, without its full stop, and says in ``hint`` what to do about it.
    """

    code: int | None = None
    signal: str = ""
    reason: str = ""
    message: str = ""
    lost: bool = False
    hint: str = ""


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
    """The tracker's experiment that a job reports into.

    ``url`` is the tracker's API base, ``link`` the experiment's page for people.
    """

    id: str
    url: str = ""
    link: str = ""


class ExportOutcome(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """``reference`` (such as a run id) and ``digest`` say what the export is there, ``link`` is its page for people.

    ``details`` are the exporter's own.
    """

    reference: str = ""
    digest: str = ""
    link: str = ""
    details: Json = {}


ExportKind = Literal["tracker", "exporter"]


class ExportRecord(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a change of the job owes to a tracker or an exporter, and what became of it.

    A job has one for each (``kind``, ``name``, ``event``): the plugin's name, and its own name for what it owes.
    ``since`` is when the change happened. ``asked``: the job's client asked for it, and is shown what became of it.
    ``revision`` counts how often it has become owed, which is again when the job's outcome changes after its end.
    ``attempts`` and ``error`` are of this revision; ``outcome`` is of the last one that succeeded.
    """

    kind: ExportKind
    name: str
    event: str
    since: datetime
    state: Literal["pending", "succeeded", "failed"] = "pending"
    asked: bool = True
    revision: int = 1
    attempts: int = 0
    error: str = ""
    outcome: ExportOutcome | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.name, self.event


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
    exports: tuple[ExportRecord, ...] = ()
    benchmarks: tuple[BenchmarkRecord, ...]

    @property
    def open(self) -> bool:
        """Is there anything left to do or to watch? A storage lists these jobs at start-up."""
        return self.unfinished or any(export.state == "pending" for export in self.exports)

    @property
    def unfinished(self) -> bool:
        """May something of the job run, now or later?"""
        return not self.state.terminal or any(b.has_workload for b in self.benchmarks)
