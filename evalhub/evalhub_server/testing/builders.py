"""Builders of records and filters, so that a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from evalhub_server.domain.record import (
    BenchmarkRecord,
    JobDefinition,
    JobPlan,
    JobProgress,
    JobRecord,
    PlannedBenchmark,
    ResultRecord,
    TrackedExperiment,
)
from evalhub_server.domain.resource import CollectionRecord, ProviderRecord
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.common import Message, State
from evalhub_server.models.job import BenchmarkRef, BenchmarkTest, JobRequest, JobTest, Model
from evalhub_server.models.provider import ProviderBenchmark, ProviderConfig
from evalhub_server.plugins.storage import Terms

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Base of creation times: each further record is one second younger."""

_numbers = count(1)


def a_job(
    *,
    name: str = "nightly",
    tags: tuple[str, ...] = (),
    size: int = 1,
    experiment_id: str = "",
    tracker: str = "tracker-a",
    **overrides: Any,
) -> JobRecord:
    """Return a pending job with an id of its own, younger than every job built before.

    ``size`` is the number of benchmarks (``bench-0``, ``bench-1``, … of provider ``provider-a``); ``experiment_id`` is
    the job's experiment in ``tracker``. ``overrides`` are ``benchmarks`` and fields of the definition and the progress, and take precedence:
    ``a_job(state=State.RUNNING, tenant="team-a")``.
    """
    identity = _identity(overrides)
    names = [f"bench-{index}" for index in range(size)]
    fields: dict[str, Any] = {
        **identity,
        "request": JobRequest(
            name=name,
            tags=tags,
            model=Model(url="http://localhost:8000/v1", name="a-model"),
            benchmarks=tuple(BenchmarkRef(id=bench, provider_id="provider-a") for bench in names),
        ),
        "plan": JobPlan(
            benchmarks=tuple(PlannedBenchmark(id=bench, provider_id="provider-a") for bench in names)
        ),
        "message": Message(
            message="Evaluation job created", message_code="evaluation_job_created", message_origin="server"
        ),
        "experiments": {tracker: TrackedExperiment(id=experiment_id)} if experiment_id else {},
        "benchmarks": tuple(BenchmarkRecord(index=index) for index in range(size)),
    }
    fields |= overrides
    parts = {
        part: struct(**{name: fields.pop(name) for name in struct.__struct_fields__ if name in fields})
        for part, struct in (("definition", JobDefinition), ("progress", JobProgress))
    }
    return JobRecord(**parts, **fields)


def a_finished_job(*, score: float = 0.75, **fields: Any) -> JobRecord:
    """Return a completed job of one benchmark with the metric ``acc``; ``fields`` as for :func:`a_job`."""
    ended = EPOCH + timedelta(minutes=5)
    passed = score >= 0.5
    test = BenchmarkTest(primary_score=score, primary_score_metric="acc", threshold=0.5, passed=passed)
    benchmark = BenchmarkRecord(
        index=0,
        state=State.COMPLETED,
        started_at=EPOCH.isoformat(),
        completed_at=ended.isoformat(),
        result=ResultRecord(metrics={"acc": score}, test=test),
    )
    finished: dict[str, Any] = {
        "state": State.COMPLETED,
        "test": JobTest(score=score, threshold=0.5, passed=passed),
        "benchmarks": (benchmark,),
        "updated_at": ended,
    }
    return a_job(**(finished | fields))


def a_provider(
    *, name: str = "a framework", tags: tuple[str, ...] = (), size: int = 1, **overrides: Any
) -> ProviderRecord:
    """Return a provider with an id of its own, younger than every record built before.

    ``size`` is the number of benchmarks (``bench-0``, ``bench-1``, …). ``overrides`` are fields of
    :class:`ProviderRecord` and win over everything.
    """
    benchmarks = tuple(ProviderBenchmark(id=f"bench-{index}", name="a benchmark") for index in range(size))
    fields: dict[str, Any] = {
        **_identity(overrides),
        "config": ProviderConfig(name=name, tags=tags, benchmarks=benchmarks),
    }
    return ProviderRecord(**(fields | overrides))


def a_collection(
    *,
    name: str = "a suite",
    category: str = "general",
    config: dict[str, Any] | None = None,
    **overrides: Any,
) -> CollectionRecord:
    """Return a collection of one benchmark, with an id of its own, younger than every record built before.

    ``config`` are fields of :class:`CollectionConfig`: ``a_collection(config={"curation_order": 1})``. ``overrides``
    are fields of :class:`CollectionRecord`.
    """
    values: dict[str, Any] = {
        "name": name,
        "category": category,
        "benchmarks": (BenchmarkRef(id="bench-0", provider_id="provider-a"),),
    }
    fields: dict[str, Any] = {
        **_identity(overrides),
        "config": CollectionConfig(**(values | (config or {}))),
    }
    return CollectionRecord(**(fields | overrides))


def any_of(*values: str) -> Terms:
    """Return a filter for records that have at least one of the values."""
    return Terms(values=values)


def all_of(*values: str) -> Terms:
    """Return a filter for records that have all of the values."""
    return Terms(values=values, every=True)


def none_of(*values: str) -> Terms:
    """Return a filter for records that have none of the values."""
    return Terms(values=values, negated=True)


def _identity(overrides: dict[str, Any]) -> dict[str, Any]:
    number = next(_numbers)
    created_at = overrides.get("created_at", EPOCH + timedelta(seconds=number))
    return {"id": str(UUID(int=number)), "created_at": created_at, "updated_at": created_at}
