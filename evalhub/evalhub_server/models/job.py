"""The evaluation job: the request that creates it and the resource in responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Struct, UnsetType, field

from evalhub_server.models.common import (
    HardwareConfig,
    Json,
    Message,
    PassCriteria,
    PrimaryScore,
    Queue,
    State,
    TestDataRef,
)
from evalhub_server.models.progress import BenchmarkPhase, Progress
from evalhub_server.models.rules import NOT_BLANK, REQUIRED, TAG_NAME, URL, max_items, max_length, minimum
from evalhub_server.models.sample import SampleSet


class ModelAuth(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The credentials for the model: the name of a Kubernetes secret or, in local mode, ``file:///path``."""

    secret_ref: Annotated[str, REQUIRED] = ""


class Model(Struct, kw_only=True, frozen=True):
    """The model under test. ``url`` may be empty if all benchmarks have pre-recorded data."""

    # No omit_defaults: the URL is written even if it is empty.
    url: Annotated[str, URL] = ""
    name: Annotated[str, REQUIRED] = ""
    auth: ModelAuth | UnsetType = UNSET
    parameters: Json | UnsetType = UNSET
    card_url: str | UnsetType = UNSET


class BenchmarkRef(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A reference from a job or a collection to a benchmark of a provider, with settings for this use.

    ``test_data_path`` is the absolute path of a directory on the server's computer whose files are the test data, instead of
    ``test_data_ref``; only in local mode, where clients may set commands of providers.
    """

    id: Annotated[str, REQUIRED] = ""
    provider_id: Annotated[str, REQUIRED] = ""
    weight: Annotated[float, minimum(0)] = 0.0
    primary_score: PrimaryScore | None = None
    pass_criteria: PassCriteria | None = None
    parameters: Json = {}
    hardware_config: HardwareConfig | None = None
    test_data_ref: TestDataRef | None = None
    test_data_path: str = ""


class CollectionRef(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The collection that a job runs; ``benchmarks`` override settings of individual members."""

    id: Annotated[str, REQUIRED] = ""
    benchmarks: tuple[BenchmarkRef, ...] = ()
    collection_updated_at: datetime | None = None


class ExperimentTag(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A tag that the experiment gets when it is created."""

    key: Annotated[str, REQUIRED, max_length(250)] = ""
    value: Annotated[str, REQUIRED, max_length(5000)] = ""


class Experiment(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The experiment in the tracker (MLflow) that receives the results; it is created if the name is new."""

    name: Annotated[str, NOT_BLANK] = ""
    tags: Annotated[tuple[ExperimentTag, ...], max_items(20)] = ()
    artifact_location: str = ""


class OciCoordinates(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The destination of the evaluation card in an OCI registry.

    The card's tag is ``oci_tag`` (default: evaluation-card), a hyphen and the job's id.
    """

    oci_host: Annotated[str, REQUIRED] = ""
    oci_repository: Annotated[str, REQUIRED] = ""
    oci_tag: str = ""
    oci_subject: str = ""
    annotations: dict[str, str] = {}


class OciConnection(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The Kubernetes secret with the credentials for the registry."""

    connection: Annotated[str, REQUIRED] = ""


class OciExport(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An export to an OCI registry."""

    coordinates: Annotated[OciCoordinates | None, REQUIRED] = None
    k8s: OciConnection | None = None


class Exports(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Where the results go once the job has ended: ``oci``, and any other exporter by its name."""

    oci: OciExport | None = None
    # The requests of all other exporters, as the client sent them. In JSON of clients they stand beside "oci". The stored
    # form has them below "*", since msgspec cannot decode unknown keys into a field.
    others: dict[str, Any] = field(name="*", default={})


class JobRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of ``POST …/jobs``; the resource repeats its fields."""

    name: Annotated[str, REQUIRED] = ""
    description: str | None = None
    tags: tuple[Annotated[str, TAG_NAME], ...] = ()
    model: Annotated[Model | None, REQUIRED] = None
    pass_criteria: PassCriteria | None = None
    benchmarks: tuple[BenchmarkRef, ...] = ()
    collection: CollectionRef | None = None
    experiment: Experiment | None = None
    custom: Json | None = None
    exports: Exports | None = None
    hardware_config: HardwareConfig | None = None
    queue: Queue | None = None


class MetricSchema(Struct, kw_only=True, frozen=True):
    """The type of a metric."""

    name: Annotated[str, REQUIRED] = ""
    type: Annotated[str, REQUIRED] = ""


class BenchmarkTest(Struct, kw_only=True, frozen=True):
    """The comparison of a benchmark's primary score with its threshold."""

    primary_score: float
    primary_score_metric: str
    threshold: float
    passed: bool = field(name="pass")


class LeftOut(Struct, kw_only=True, frozen=True):
    """A benchmark that does not count in the job's score. ``metric`` is empty if it has no primary score."""

    benchmark_index: int
    provider_id: str
    id: str
    metric: str
    reason: str


class JobTest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The comparison of the weighted mean of the benchmarks' primary scores with the job's threshold.

    ``left_out`` lists the benchmarks that the mean does not contain.
    """

    score: float
    threshold: float
    passed: bool = field(name="pass")
    left_out: tuple[LeftOut, ...] = ()


class BenchmarkStatus(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The status of a benchmark. Times are the adapter's own if it reported them.

    ``progress`` and ``running_metrics`` are the last ones that the adapter reported while the benchmark ran. The metrics
    are preliminary and never part of the results; a completed benchmark has none. ``attempt`` counts the launches of its
    adapter, and is left out for the first one.

    ``samples`` is absent until the benchmark's workload has ended or has uploaded samples. ``phases`` has the phases of this attempt
    in the order in which they were reported; ``phase`` is the last one.
    """

    provider_id: str
    id: str
    benchmark_index: int
    status: State
    phase: str = ""
    phases: tuple[BenchmarkPhase, ...] = ()
    error_message: Message | None = None
    warning_message: Message | None = None
    started_at: str = ""
    completed_at: str = ""
    progress: Progress | None = None
    running_metrics: Json = {}
    attempt: int = 1
    samples: SampleSet | None = None


class BenchmarkResult(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The results that a benchmark reported, and its test."""

    id: str
    provider_id: str
    benchmark_index: int
    metrics: Json = {}
    metrics_schema: tuple[MetricSchema, ...] = ()
    additional_info: Json = {}
    artifacts: Json = {}
    mlflow_run_id: str = ""
    logs_path: str = ""
    test: BenchmarkTest | None = None
    samples: SampleSet | None = None


class LineageMember(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One job of a chain of reruns; ``repeats`` are the indexes of its benchmarks in the job ``derived_from``."""

    id: str
    derived_from: str = ""
    repeats: tuple[int, ...] = ()
    created_at: datetime
    state: State


class JobResourceInfo(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The job's id, owner and times.

    ``derived_from`` is the id of the job that this one repeats, and ``repeats`` has for each benchmark the index of the one
    of that job that it repeats. ``lineage`` are the first job and all that repeat it, directly or not, oldest first and this
    one included; lists leave it out. A ``pinned`` job is never pruned.
    """

    id: str
    tenant: str = ""
    created_at: datetime
    updated_at: datetime
    owner: str = ""
    mlflow_experiment_id: str = ""
    derived_from: str = ""
    repeats: tuple[int, ...] = ()
    lineage: tuple[LineageMember, ...] = ()
    pinned: bool = False


class JobStatus(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The progress of the job and of each of its benchmarks.

    ``duration_s`` is the time from the first start of a benchmark to the last end, in seconds, once the job has ended. A
    summary has ``benchmark_states``, the number of benchmarks in each state, in place of ``benchmarks``.
    """

    state: State
    message: Message
    benchmarks: tuple[BenchmarkStatus, ...] = ()
    duration_s: float | None = None
    benchmark_states: dict[str, int] = {}


class JobExport(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The status of one export that the job requests.

    ``kind`` is tracker or exporter, ``name`` that of the plugin. ``state`` is pending, succeeded or failed; between
    two attempts it is pending and ``error`` is that of the last one. ``reference`` is the run id of a tracker or the
    location of an export, ``link`` a web page about it.
    """

    kind: str
    name: str
    state: str
    attempts: int = 0
    error: str = ""
    reference: str = ""
    digest: str = ""
    link: str = ""
    details: Json = {}


class PendingExports(Struct, kw_only=True, frozen=True):
    """The exports of a job that are being sent. Messages that the job does not request, as to webhooks, are not listed."""

    exports: tuple[JobExport, ...] = ()


class OciStatus(Struct, kw_only=True, frozen=True):
    """The status of the export; ``state`` is pending, succeeded or failed."""

    state: str
    message: Message


class OciArtifact(Struct, kw_only=True, frozen=True):
    """The pushed artifact; ``oci_reference`` is ``host/repository:tag@digest``."""

    oci_digest: str
    oci_reference: str


class OciResults(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The outcome of ``exports.oci``, in the shape of the SDK's model."""

    status: OciStatus
    evaluation_card: OciArtifact | None = None


class JobResults(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The results of a job.

    ``left_out`` is present instead of ``test`` if benchmarks have tests and none of them can count in a score.
    ``mlflow_experiment_url`` is the base URL of the tracker's API, ``mlflow_experiment_link`` a web page. The link,
    ``exports`` and ``oci`` are absent from the response to a create: some clients reject unknown fields there.
    """

    test: JobTest | None = None
    left_out: tuple[LeftOut, ...] = ()
    benchmarks: tuple[BenchmarkResult, ...] = ()
    mlflow_experiment_url: str = ""
    mlflow_experiment_link: str = ""
    exports: tuple[JobExport, ...] = ()
    oci: OciResults | None = None


class JobResource(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An evaluation job in responses: the fields of the request, with status and results."""

    resource: JobResourceInfo
    status: JobStatus
    results: JobResults
    name: str
    description: str | None = None
    tags: tuple[str, ...] = ()
    model: Model
    pass_criteria: PassCriteria | None = None
    benchmarks: tuple[BenchmarkRef, ...] = ()
    collection: CollectionRef | None = None
    experiment: Experiment | None = None
    custom: dict[str, Any] | None = None
    exports: Exports | None = None
    hardware_config: HardwareConfig | None = None
    queue: Queue | None = None
