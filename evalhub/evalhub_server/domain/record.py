"""The job record: the state of a job that the server keeps and a storage persists.

Records are frozen and share what did not change. A storage persists each part as it is and finds by ``is`` what it
has to write: the progress, and the benchmarks that an event touched. The definition never changes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.job_labels import job_labels
from evalhub_server.domain.timeline import moment_of
from evalhub_server.models.common import HardwareConfig, Json, Message, PrimaryScore, State, TestDataRef
from evalhub_server.models.job import BenchmarkTest, JobRequest, JobTest, MetricSchema
from evalhub_server.models.progress import PhaseStart, Progress
from evalhub_server.models.provider import MetricProperties
from evalhub_server.models.sample import SampleSet


class PlannedBenchmark(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An effective benchmark: the result of merging collection, override and provider defaults.

    ``metric_properties``, ``groups``, ``alias_of``, ``requires`` and ``generating_twin`` are the provider's; ``parameters`` include its
    ``default_parameters``.
    """

    id: str
    provider_id: str
    weight: float = 1.0
    primary_score: PrimaryScore | None = None
    threshold: float | None = None
    parameters: Json = {}
    test_data_ref: TestDataRef | None = None
    test_data_path: str = ""
    hardware_config: HardwareConfig | None = None
    metric_properties: tuple[MetricProperties, ...] = ()
    groups: str = ""
    alias_of: str = ""
    requires: tuple[str, ...] = ()
    generating_twin: str = ""


class JobPlan(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Snapshot taken at create, so that later edits of providers and collections do not affect a stored job.

    ``runtimes`` holds, per provider id, the provider's ``runtime`` mapping. ``threshold`` is the job's own.
    """

    benchmarks: tuple[PlannedBenchmark, ...]
    runtimes: dict[str, dict[str, Json]] = {}
    threshold: float = 0.5


INTERRUPTED = "interrupted"
"""The reason in the exit of a workload that was terminated because the server or its host stopped."""


class Exit(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How a workload ended; :mod:`evalhub_server.domain.diagnosis` interprets it.

    ``code`` is the exit status, or None if a signal ended the workload or the status is unknown. ``signal`` is a name
    such as ``SIGKILL``. ``reason`` is a stable word of the runtime (``OOMKilled``); ``message`` is its text for people. With
    the reason ``interrupted`` (:data:`INTERRUPTED`), the benchmark may be started again: a stop of the host ended it.
    ``lost``: the workload is gone and left no status. A runtime that knows more than the exit status puts the whole
    explanation into ``message``, without a full stop, and the remedy into ``hint``.
    """

    code: int | None = None
    signal: str = ""
    reason: str = ""
    message: str = ""
    lost: bool = False
    hint: str = ""


class ResultRecord(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The content of a terminal report."""

    metrics: Json = {}
    metrics_schema: tuple[MetricSchema, ...] = ()
    additional_info: Json = {}
    artifacts: Json = {}
    mlflow_run_id: str = ""
    logs_path: str = ""
    test: BenchmarkTest | None = None


class RefusedEvent(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An event that the API refused. ``status`` is the state that it reported; empty if the body was unreadable."""

    reason: str
    status: str = ""

    @property
    def is_result(self) -> bool:
        return self.status in ("completed", "failed")


class BenchmarkRecord(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One benchmark of a job: its reported state, its result, and its workload.

    ``provisional``: the server failed it because its workload ended without a report; a real report may still
    replace that. ``launched_at`` without ``handle``: a launch was intended and may have happened. ``runtime`` is the
    name of the runtime that launched it and that created ``handle``; empty before the launch. ``exit``: the workload
    has ended and nothing of it runs. ``resolved_sha`` is the commit of its test data, as its adapter reported it.
    ``attempt`` counts its launches from 1; ``phases`` are those of the current one. ``refused`` is the last event that was refused. ``progress`` and
    ``running_metrics`` are the last reported ones of a running benchmark. ``samples`` describes its samples, which are
    files; None until the workload has ended or has uploaded some.
    """

    index: int
    state: State = State.PENDING
    phase: str = ""
    phases: tuple[PhaseStart, ...] = ()
    error: Message | None = None
    warning: Message | None = None
    started_at: str = ""
    completed_at: str = ""
    result: ResultRecord | None = None
    provisional: bool = False
    resolved_sha: str = ""
    attempt: int = 1
    launched_at: datetime | None = None
    runtime: str = ""
    handle: Json | None = None
    exit: Exit | None = None
    refused: RefusedEvent | None = None
    progress: Progress | None = None
    running_metrics: Json = {}
    samples: SampleSet | None = None

    @property
    def has_workload(self) -> bool:
        """Whether anything of this benchmark may be running."""
        return self.launched_at is not None and self.exit is None

    @property
    def ended(self) -> bool:
        """Whether it is terminal and nothing of it runs."""
        return self.state.terminal and not self.has_workload

    def is_foreign(self, runtime: str) -> bool:
        """Whether another runtime than ``runtime`` launched it, so that no call of ``runtime`` may get its handle."""
        return self.launched_at is not None and self.runtime not in ("", runtime)


class TrackedExperiment(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A tracker's experiment that a job reports into.

    ``url`` is the base URL of the tracker's API, ``link`` the experiment's web page.
    """

    id: str
    url: str = ""
    link: str = ""


class ExportOutcome(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The result of a successful export.

    ``reference`` (such as a run id) and ``digest`` identify it at the target, ``link`` is its web page. ``details`` are
    the exporter's own.
    """

    reference: str = ""
    digest: str = ""
    link: str = ""
    details: Json = {}


ExportKind = Literal["tracker", "exporter"]


class OutboxEntry(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An export to a tracker or an exporter that a change of the job requires, and its delivery status.

    A job has one entry for each (``kind``, ``name``, ``event``): the plugin's name, and the plugin's own name for the
    export. ``since`` is when the change happened. ``requested``: the job's client requested the export, so the job's
    results show it. ``revision`` counts how often the export has become pending; it becomes pending again when the
    job's outcome changes after its end. ``attempts``, ``error`` and ``failing_since`` (the time of the first failure) belong
    to this revision; ``outcome`` is that of the last successful attempt. ``recheck``: a request of an attempt that was cut
    short may still take effect, so the target is examined once more after the success.
    """

    kind: ExportKind
    name: str
    event: str
    since: datetime
    state: Literal["pending", "succeeded", "failed"] = "pending"
    requested: bool = True
    revision: int = 1
    attempts: int = 0
    error: str = ""
    failing_since: datetime | None = None
    outcome: ExportOutcome | None = None
    recheck: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.name, self.event

    @property
    def open(self) -> bool:
        """Whether the server has something left to do for the export."""
        return self.state == "pending" or self.due_for_recheck

    @property
    def due_for_recheck(self) -> bool:
        return self.recheck and self.state == "succeeded"


class JobDefinition(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a job was created from. ``tenant`` and ``owner`` are empty if the client was not identified.

    A rerun has ``derived_from``, the id of the job that it repeats, and in ``repeats`` for each of its benchmarks the index
    of the one of that job. ``lineage`` is the id of the first job of the chain, ``origins`` are the indexes there.
    ``reuses_samples``: its adapters get the samples of that job.
    ``request_digest`` identifies the request of a job that was created with an idempotency key.

    Fixed, with one exception: an adapter's report may add the resolved revision of a test data source.
    """

    id: str
    tenant: str = ""
    owner: str = ""
    created_at: datetime
    request: JobRequest
    plan: JobPlan
    derived_from: str = ""
    repeats: tuple[int, ...] = ()
    lineage: str = ""
    origins: tuple[int, ...] = ()
    reuses_samples: bool = False
    request_digest: str = ""


class JobProgress(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What changes of a job as it runs, except for its benchmarks.

    ``experiments`` has one entry per tracker, by the tracker's name, in the order in which trackers are configured. A
    ``pinned`` job is never pruned. ``repeated``: it is the first job of a chain of reruns.
    """

    updated_at: datetime
    state: State = State.PENDING
    message: Message
    test: JobTest | None = None
    cancelled: bool = False
    pinned: bool = False
    repeated: bool = False
    experiments: dict[str, TrackedExperiment] = {}
    outbox: tuple[OutboxEntry, ...] = ()


class JobRecord(Struct, kw_only=True, frozen=True):
    """A job: its definition, its progress and its benchmarks, in the order of their index.

    Times are UTC with microseconds. The properties are shortcuts for reading; :func:`with_changes` replaces fields.
    """

    definition: JobDefinition
    progress: JobProgress
    benchmarks: tuple[BenchmarkRecord, ...]

    @property
    def id(self) -> str:
        return self.definition.id

    @property
    def tenant(self) -> str:
        return self.definition.tenant

    @property
    def owner(self) -> str:
        return self.definition.owner

    @property
    def created_at(self) -> datetime:
        return self.definition.created_at

    @property
    def request(self) -> JobRequest:
        return self.definition.request

    @property
    def model_name(self) -> str:
        """The name of the model; empty for a job without one."""
        return self.request.model.name if self.request.model else ""

    @property
    def plan(self) -> JobPlan:
        return self.definition.plan

    @property
    def state(self) -> State:
        return self.progress.state

    @property
    def experiment(self) -> TrackedExperiment | None:
        """The experiment of the first tracker, which is the one that clients see."""
        return next(iter(self.progress.experiments.values()), None)

    @property
    def score(self) -> float | None:
        """The job's own score: the weighted mean of its benchmarks' primary scores, if it has one."""
        return self.progress.test.score if self.progress.test else None

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first start of a benchmark to the last end, once the job has ended."""
        if not self.state.terminal:
            return None
        starts = [time for b in self.benchmarks if (time := moment_of(b.started_at))]
        ends = [time for b in self.benchmarks if (time := moment_of(b.completed_at))]
        if not starts or not ends:
            return None
        return max(0.0, (max(ends) - min(starts)).total_seconds())

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The values that lists filter by, by the filter's name (:data:`~evalhub_server.domain.job_labels.JOB_LABELS`), without empty ones."""
        made = self.definition
        pairs = ((b.provider_id, b.id) for b in self.plan.benchmarks)
        return job_labels(self.request, pairs, made.derived_from, made.lineage)

    @property
    def open(self) -> bool:
        """Whether anything is left to run, to watch, to collect or to export. A storage lists these jobs at start-up."""
        return (
            self.unfinished
            or any(entry.open for entry in self.progress.outbox)
            or any(b.samples is not None and b.samples.state == "pending" for b in self.benchmarks)
        )

    @property
    def unfinished(self) -> bool:
        """Whether anything of the job may run, now or later."""
        return not self.state.terminal or any(b.has_workload for b in self.benchmarks)


_DEFINITION = frozenset(JobDefinition.__struct_fields__)


def with_changes(job: JobRecord, **changes: Any) -> JobRecord:
    """Return the job with other values for fields of its definition or progress, or with other ``benchmarks``.

    A part of which no field is named stays the same object, so that a storage does not write it.
    """
    definition, progress = job.definition, job.progress
    benchmarks = changes.pop("benchmarks", job.benchmarks)
    if not _DEFINITION.isdisjoint(changes):
        definition = replace(definition, **{name: changes.pop(name) for name in _DEFINITION & changes.keys()})
    if changes:
        progress = replace(progress, **changes)
    return JobRecord(definition=definition, progress=progress, benchmarks=benchmarks)
