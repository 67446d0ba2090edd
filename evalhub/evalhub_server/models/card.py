"""The evaluation card: the summary of a job that ``GET …/jobs/{id}/card`` returns and that exporters send."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

from evalhub_server.models.common import Json, Message, PassCriteria, PrimaryScore, State
from evalhub_server.models.job import JobTest, MetricSchema


class CardMetadata(Struct, kw_only=True, frozen=True):
    """Times are RFC 3339 in UTC with whole seconds."""

    evaluation_job_id: str
    created_at: str
    updated_at: str


class CardModel(Struct, kw_only=True, frozen=True):
    """The model that was evaluated."""

    url: str
    name: str
    model_card_url: str | UnsetType = UNSET


class CardContextBenchmark(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A benchmark as the request configured it."""

    id: str
    provider_id: str
    parameters: Json = {}
    primary_score: PrimaryScore | None = None
    pass_criteria: PassCriteria | None = None
    weight: float | UnsetType = UNSET


class CardContext(Struct, kw_only=True, frozen=True):
    """The subject of the evaluation: the model with a collection or with the benchmarks that the request lists."""

    model: CardModel
    collection_id: str | UnsetType = UNSET
    benchmarks: tuple[CardContextBenchmark, ...] | UnsetType = UNSET


class CardBenchmarkTest(Struct, kw_only=True, frozen=True):
    """A benchmark's pass criteria applied to its primary score; numbers are strings, as Go's ``%g`` formats them."""

    primary_score: str
    threshold: str
    passed: bool = field(name="pass")


class CardFramework(Struct, kw_only=True, frozen=True):
    """The framework that evaluated a benchmark, as it was installed when the adapter was started."""

    name: str
    version: str


class CardBenchmark(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The outcome of a benchmark. ``framework`` is present if it ran in an environment that the server manages."""

    id: str
    provider_id: str
    status: State
    error_message: Message | None = None
    warning_message: Message | None = None
    metrics: Json = {}
    metrics_schema: tuple[MetricSchema, ...] = ()
    additional_info: Json = {}
    artifacts: Json = {}
    mlflow_run_id: str = ""
    logs_path: str = ""
    test: CardBenchmarkTest | None = None
    framework: CardFramework | None = None


class CardStatus(Struct, kw_only=True, frozen=True):
    """The state of the job when the card was created."""

    state: State
    message: Message


class CardCollection(Struct, kw_only=True, frozen=True):
    """The overall test of a collection."""

    test: JobTest


class CardResults(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The outcome of a job. Its overall test is ``collection.test`` if it ran a collection, otherwise ``test``."""

    status: CardStatus
    benchmarks: tuple[CardBenchmark, ...] = ()
    test: JobTest | None = None
    collection: CardCollection | None = None


class EvaluationCard(Struct, kw_only=True, frozen=True):
    """A job's configuration and its results in one document."""

    card_version: str = "1.0"
    schema_version: str = "1.0"
    metadata: CardMetadata
    context: CardContext
    results: CardResults
