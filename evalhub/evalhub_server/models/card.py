"""The evaluation card: what a finished job leaves in trackers and registries, and what ``GET …/jobs/{id}/card`` answers."""

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
    """What the request said of a benchmark."""

    id: str
    provider_id: str
    parameters: Json = {}
    primary_score: PrimaryScore | None = None
    pass_criteria: PassCriteria | None = None
    weight: float | UnsetType = UNSET


class CardContext(Struct, kw_only=True, frozen=True):
    """What was evaluated: a collection, or the benchmarks that the job named itself."""

    model: CardModel
    collection_id: str | UnsetType = UNSET
    benchmarks: tuple[CardContextBenchmark, ...] | UnsetType = UNSET


class CardBenchmarkTest(Struct, kw_only=True, frozen=True):
    """Numbers are texts here, as ``%g`` of C and Go writes them with as many digits as they have."""

    primary_score: str
    threshold: str
    passed: bool = field(name="pass")


class CardBenchmark(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What became of a benchmark."""

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


class CardStatus(Struct, kw_only=True, frozen=True):
    """How far the job was when the card was made."""

    state: State
    message: Message


class CardCollection(Struct, kw_only=True, frozen=True):
    """The verdict on a collection as a whole."""

    test: JobTest


class CardResults(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The job's overall test stands in ``collection.test`` if it ran a collection, otherwise in ``test``."""

    status: CardStatus
    benchmarks: tuple[CardBenchmark, ...] = ()
    test: JobTest | None = None
    collection: CardCollection | None = None


class EvaluationCard(Struct, kw_only=True, frozen=True):
    """What was asked of a job and what came of it."""

    card_version: str = "1.0"
    schema_version: str = "1.0"
    metadata: CardMetadata
    context: CardContext
    results: CardResults
