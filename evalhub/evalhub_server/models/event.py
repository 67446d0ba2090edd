"""Status events: the reports of adapters to ``POST …/jobs/{id}/events``."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from evalhub_common.adapter.phases import PHASES
from evalhub_server.models.common import Int64, Json, Message
from evalhub_server.models.job import MetricSchema
from evalhub_server.models.rules import REQUIRED, TIMESTAMP, one_of

METRIC_TYPES = ("numeric", "categorical", "array_ordered", "array_unordered", "time_series")


class EventMetricSchema(MetricSchema, kw_only=True, frozen=True):
    """The type of a metric in the same event. Names are unique."""

    type: Annotated[str, REQUIRED, one_of(*METRIC_TYPES)] = ""


class JobMeta(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """``resolved_sha`` is the commit of the test data, 7 to 40 hexadecimal digits; any other value is ignored."""

    resolved_sha: str = ""


PROGRESS = Meta(
    description=(
        "How far the benchmark is: `done` of `total`, numbers of at least 0, and optionally a `message`. Any other value is "
        "logged and ignored."
    ),
    extra_json_schema={"examples": [{"done": 120, "total": 400, "message": "120 of 400 samples"}]},
)


class BenchmarkEvent(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A report about one benchmark. Absent fields leave the recorded values unchanged.

    ``metrics`` of a running benchmark are preliminary: they are shown as ``running_metrics`` of its status.
    """

    provider_id: Annotated[str, REQUIRED] = ""
    id: Annotated[str, REQUIRED] = ""
    benchmark_index: Int64 = 0
    status: Annotated[str, REQUIRED, one_of("pending", "running", "completed", "failed")] = ""
    phase: Annotated[str, one_of(*PHASES)] = ""
    metrics: Json = {}
    metrics_schema: tuple[EventMetricSchema, ...] = ()
    additional_info: Json = {}
    artifacts: Json = {}
    error_message: Message | None = None
    warning_message: Message | None = None
    started_at: Annotated[str, TIMESTAMP] = ""
    completed_at: Annotated[str, TIMESTAMP] = ""
    mlflow_run_id: str = ""
    logs_path: str = ""
    job_meta: JobMeta | None = None
    progress: Annotated[Any, PROGRESS] = None


class StatusEvent(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of ``POST …/jobs/{id}/events``."""

    benchmark_status_event: Annotated[BenchmarkEvent | None, REQUIRED] = None
