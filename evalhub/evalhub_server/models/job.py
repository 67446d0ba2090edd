"""The evaluation job: what a client submits, and the resource that it reads back."""

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
from evalhub_server.models.rules import NOT_BLANK, REQUIRED, TAG_NAME, URL, max_items, max_length, minimum


class ModelAuth(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Where the credentials for the model are: the name of a secret or, on a workstation, ``file:///path``."""

    secret_ref: Annotated[str, REQUIRED] = ""


class Model(Struct, kw_only=True, frozen=True):
    """The model under test. ``url`` may be empty if all benchmarks have pre-recorded data."""

    # No omit_defaults: the URL is written even when it is empty.
    url: Annotated[str, URL] = ""
    name: Annotated[str, REQUIRED] = ""
    auth: ModelAuth | UnsetType = UNSET
    parameters: Json | UnsetType = UNSET
    card_url: str | UnsetType = UNSET


class BenchmarkRef(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A benchmark of a provider as a job or a collection names it, with what it sets for it."""

    id: Annotated[str, REQUIRED] = ""
    provider_id: Annotated[str, REQUIRED] = ""
    weight: Annotated[float, minimum(0)] = 0.0
    primary_score: PrimaryScore | None = None
    pass_criteria: PassCriteria | None = None
    parameters: Json = {}
    hardware_config: HardwareConfig | None = None
    test_data_ref: TestDataRef | None = None


class CollectionRef(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The collection that a job runs. ``benchmarks`` override single members."""

    id: Annotated[str, REQUIRED] = ""
    benchmarks: tuple[BenchmarkRef, ...] = ()
    collection_updated_at: datetime | None = None


class ExperimentTag(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A tag that is written when the experiment is created."""

    key: Annotated[str, REQUIRED, max_length(250)] = ""
    value: Annotated[str, REQUIRED, max_length(5000)] = ""


class Experiment(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The experiment of the tracker (MLflow) that the results go to; it is created if there is none of that name."""

    name: Annotated[str, NOT_BLANK] = ""
    tags: Annotated[tuple[ExperimentTag, ...], max_items(20)] = ()
    artifact_location: str = ""


class OciCoordinates(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Where in an OCI registry the evaluation card goes; the tag is ``oci_tag``, or evaluation-card, with the job's id."""

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
    """Where the evaluation card goes when the job has ended."""

    oci: OciExport | None = None


class JobRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of ``POST …/jobs``; echoed in the resource as it came."""

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
    """What a metric is."""

    name: Annotated[str, REQUIRED] = ""
    type: Annotated[str, REQUIRED] = ""


class BenchmarkTest(Struct, kw_only=True, frozen=True):
    """Did the primary score reach the threshold?"""

    primary_score: float
    primary_score_metric: str
    threshold: float
    passed: bool = field(name="pass")


class JobTest(Struct, kw_only=True, frozen=True):
    """Weighted mean of the benchmarks' primary scores against the job's threshold."""

    score: float
    threshold: float
    passed: bool = field(name="pass")


class BenchmarkStatus(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How far a benchmark is. Times are the adapter's own where it told them."""

    provider_id: str
    id: str
    benchmark_index: int
    status: State
    phase: str = ""
    error_message: Message | None = None
    warning_message: Message | None = None
    started_at: str = ""
    completed_at: str = ""


class BenchmarkResult(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a benchmark that has ended reported, and the verdict on it."""

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


class JobResourceInfo(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The job's id, whose it is and since when it is there."""

    id: str
    tenant: str = ""
    created_at: datetime
    updated_at: datetime
    owner: str = ""
    mlflow_experiment_id: str = ""


class JobStatus(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How far the job is, and each of its benchmarks."""

    state: State
    message: Message
    benchmarks: tuple[BenchmarkStatus, ...] = ()


class JobExport(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What became of one export that the job asked for.

    ``kind`` is tracker or exporter, ``name`` which one. ``state`` is pending (also between two attempts: ``error``
    is the last one's), succeeded or failed. ``reference`` is a tracker's run id, or where the export is; ``link`` a
    page for people.
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


class OciStatus(Struct, kw_only=True, frozen=True):
    """``state`` is pending, succeeded or failed."""

    state: str
    message: Message


class OciArtifact(Struct, kw_only=True, frozen=True):
    """``oci_reference`` is ``host/repository:tag@digest``."""

    oci_digest: str
    oci_reference: str


class OciResults(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What became of ``exports.oci``, as the SDK's model has it; ``evaluation_card`` once there is one."""

    status: OciStatus
    evaluation_card: OciArtifact | None = None


class JobResults(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """``mlflow_experiment_url`` is the base of the tracker's API; ``mlflow_experiment_link`` is for people.

    The link, ``exports`` and ``oci`` come later than the answer to the create: strict clients know all of that.
    """

    test: JobTest | None = None
    benchmarks: tuple[BenchmarkResult, ...] = ()
    mlflow_experiment_url: str = ""
    mlflow_experiment_link: str = ""
    exports: tuple[JobExport, ...] = ()
    oci: OciResults | None = None


class JobResource(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An evaluation job as clients read it: the request's fields beside what the server knows."""

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
