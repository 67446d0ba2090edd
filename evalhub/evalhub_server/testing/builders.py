"""Builders of records, so that a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from evalhub_server.domain.record import (
    BenchmarkRecord,
    JobPlan,
    JobRecord,
    PlannedBenchmark,
    TrackedExperiment,
)
from evalhub_server.models.common import Message
from evalhub_server.models.job import BenchmarkRef, JobRequest, Model

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first job was made; every further one is a second younger."""

_numbers = count(1)


def a_job(
    *,
    name: str = "nightly",
    tags: tuple[str, ...] = (),
    size: int = 1,
    experiment_id: str = "",
    **overrides: Any,
) -> JobRecord:
    """Return a pending job with an id of its own, younger than every job built before.

    ``size`` is the number of benchmarks (``bench-0``, ``bench-1``, … of provider ``provider-a``). ``overrides``
    are fields of :class:`JobRecord` and win over everything: ``a_job(state=State.RUNNING, tenant="team-a")``.
    """
    number = next(_numbers)
    created_at = overrides.get("created_at", EPOCH + timedelta(seconds=number))
    names = [f"bench-{index}" for index in range(size)]
    fields: dict[str, Any] = {
        "id": str(UUID(int=number)),
        "created_at": created_at,
        "updated_at": created_at,
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
        "experiment": TrackedExperiment(id=experiment_id) if experiment_id else None,
        "benchmarks": tuple(BenchmarkRecord(index=index) for index in range(size)),
    }
    return JobRecord(**(fields | overrides))
