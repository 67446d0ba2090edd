"""The page that compares jobs, before they are chosen: a form with the newest jobs that have results."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from evalhub_server.domain.record import JobRecord
from evalhub_server.models.common import State
from evalhub_server.plugins.storage import JobQuery, Terms
from evalhub_server.viewer.job_row import what_runs
from evalhub_server.viewer.page import Page
from evalhub_server.web.comparison_query import job_of
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.services import Services

MAX_CHOICES = 30
WITH_RESULTS = Terms(values=(State.COMPLETED.value, State.PARTIALLY_FAILED.value))


class Choice(Struct, kw_only=True, frozen=True):
    """A job to choose. ``score`` is absent for jobs without one of their own."""

    id: str
    name: str
    model: str
    what: str
    score: float | None
    created_at: datetime


async def compare_start(request: ApiRequest, services: Services, base: str) -> Page:
    """The newest jobs; with a baseline, those that ran its collection or one of its benchmarks. Raises :class:`ApiError`."""
    baseline: JobRecord | None = None
    labels: dict[str, Terms] = {}
    if base:
        baseline, _ = await job_of(services, request.identity, base)
        collection = baseline.request.collection
        if collection is not None:
            labels["collection_id"] = Terms(values=(collection.id,))
        else:
            ids = dict.fromkeys(each.id for each in baseline.plan.benchmarks)
            labels["benchmark_id"] = Terms(values=tuple(ids))
    found = await services.jobs.list(
        JobQuery(tenant=request.identity.scope, limit=MAX_CHOICES, status=WITH_RESULTS, labels=labels)
    )
    choices = [_choice(job) for job in found.items if baseline is None or job.id != baseline.id]
    values: dict[str, Any] = {
        "runs": (),
        "base": base,
        "baseline": None if baseline is None else _choice(baseline),
        "choices": choices,
    }
    data: dict[str, Sequence[Choice]] = {"choices": choices}
    return Page(name="compare", title="Compare", section="/ui/jobs", values=values, data=data)


def _choice(job: JobRecord) -> Choice:
    return Choice(
        id=job.id,
        name=job.request.name,
        model=job.model_name,
        what=what_runs(job),
        score=job.score,
        created_at=job.created_at,
    )
