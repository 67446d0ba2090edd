"""The page of a job, ``/ui/jobs/{job_id}``, and of one of its benchmarks, ``/ui/jobs/{job_id}/b/{index}``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from litestar import route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain.comparison_view import JobScores, compared_job
from evalhub_server.domain.configuration_origins import Setting, settings_of
from evalhub_server.domain.export_rows import COLUMNS, rows_of
from evalhub_server.domain.job_view import job_export, job_in_lineage, job_resource
from evalhub_server.domain.lineage import in_lineage, lineage_members
from evalhub_server.domain.lineage_view import LineageView, Source, benchmark_names
from evalhub_server.domain.overall_score import overall_score
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.redaction import redacted
from evalhub_server.domain.resource import CollectionRecord
from evalhub_server.domain.samples import current_set
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.domain.statistics.results import SuiteScore
from evalhub_server.domain.verdicts import words_of_test
from evalhub_server.engine.comparisons import Question
from evalhub_server.engine.sample_store import benchmark_at
from evalhub_server.errors import ApiError, SampleStoreUnavailable
from evalhub_server.models.common import State
from evalhub_server.models.job import JobResource
from evalhub_server.plugins.storage import JobQuery, Terms
from evalhub_server.viewer.benchmark_view import BenchmarkView, benchmark_view
from evalhub_server.viewer.job_actions import ACTIONS
from evalhub_server.viewer.job_failures import failures_of
from evalhub_server.viewer.job_row import share_done
from evalhub_server.viewer.marks import MARKS
from evalhub_server.viewer.numbers import about, counted, share
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.viewer.sample_times import sample_times_of
from evalhub_server.web.paths import index_of
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

CHECK_S = 30
"""A page is rendered again after so long without a change: times and warnings of silence depend on the clock."""
MAX_READ = 12
"""Sample files that are read for a page. The scores of more are computed in the background."""
COMPUTING = "Intervals are being computed: the page shows them as soon as they are known."
UNREADABLE = "Intervals are missing, since samples cannot be read now."
MAX_EARLIER = 20
"""Earlier jobs with the same benchmarks among which one to compare with is looked for."""


@route("/jobs/{job_id:str}", http_method=READ_METHODS, include_in_schema=False)
async def job_page(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """A job: its verdict, the progress and scores of its benchmarks, failures, configuration and exports."""
    query = PageQuery(request, ("size", "offset"))
    size, offset = query.size(), query.integer("offset", 0)
    state = PageState(request, query, services, _clock(services))
    if (known := await state.known_response()) is not None:
        return known
    job = await services.jobs.get(job_id, request.identity)
    shown = range(len(job.benchmarks))[offset : offset + size]
    common = await _common(request, services, job, shown)
    total = len(job.benchmarks)
    values = {
        **common,
        "sample_times": await sample_times_of(services, job, 0) if total == 1 and shown else None,
        "verdict": _verdict(job, common["benchmarks"], common["scores"].overall),
        "news": _news(job, common["benchmarks"]),
        "total": total,
        **query.row_links(len(shown), total),
        "configuration": _job_settings(job, common["collection"]) if shown else [],
    }
    return await page_response(request, query, _page("job", _name(job), job, values), state)


@route("/jobs/{job_id:str}/b/{benchmark_index:str}", http_method=READ_METHODS, include_in_schema=False)
async def benchmark_page(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> RawResponse:
    """One benchmark of a job: its score, metrics, configuration, samples, artifacts and attempts."""
    query = PageQuery(request)
    index = index_of(benchmark_index)
    state = PageState(request, query, services, _clock(services))
    if (known := await state.known_response()) is not None:
        return known
    job = await services.jobs.get(job_id, request.identity)
    record = benchmark_at(job, index)
    common = await _common(request, services, job, range(index, index + 1))
    values = {
        **common,
        "benchmark": common["benchmarks"][0],
        "sample_times": await sample_times_of(services, job, index),
        "configuration": settings_of(job, index, common["collection"]),
        "additional": redacted(record.result.additional_info) if record.result else {},
        "total": len(job.benchmarks),
    }
    return await page_response(
        request,
        query,
        _page("benchmark", f"{job.plan.benchmarks[index].id} · {_name(job)}", job, values),
        state,
    )


async def _common(request: ApiRequest, services: Services, job: JobRecord, shown: range) -> dict[str, Any]:
    """What both pages show."""
    now = datetime.now(UTC)
    identity = request.identity
    own = _own_view(job)
    view = {name: source for name, source in own.items() if source.index in shown}
    scores, fault = await _scores(services, job, view)
    by_name: dict[str, ScoredBenchmark] = {each.name: each for each in scores}
    benchmarks = [
        benchmark_view(
            job,
            source.index,
            by_name[name].summary if name in by_name else None,
            services.jobs.rates.pace(job, source.index),
            now,
        )
        for name, source in view.items()
    ]
    lineage = await services.jobs.lineage(job, identity) if in_lineage(job) else (job,)
    return {
        "job": job,
        "mark": _mark(job),
        "benchmarks": benchmarks,
        "scores": JobScores(
            job=compared_job(job, own),
            scores=scores,
            missing=tuple(name for name, source in view.items() if not source.completed),
            alpha=Question().options.alpha,
            overall=overall_score(own, scores),
        ),
        "samples_fault": fault,
        "failures": await failures_of(services, job, shown, identity),
        "lineage": lineage_members(lineage) if len(lineage) > 1 else (),
        "lineage_records": lineage,
        "earlier": await _earlier(services, job, identity.scope),
        "collection": await _collection(request, services, job),
        "exports": [job_export(entry) for entry in job.progress.outbox],
        "actions": [(name, ACTIONS[name].button) for name in _actions(job)],
    }


async def _scores(
    services: Services, job: JobRecord, view: LineageView
) -> tuple[tuple[ScoredBenchmark, ...], str]:
    """The scores of benchmarks with their intervals, and why they are missing."""
    samples = sum(1 for source in view.values() if (found := current_set(source.record)) and found.readable)
    try:
        if samples <= MAX_READ:
            return (await services.comparisons.scores(view, Question()) if view else ()), ""
        key = f"{job.id} {job.progress.updated_at} {min(source.index for source in view.values())}"
        known = services.comparisons.known
        if (scores := known.get(key, view)) is not None:
            return scores, ""
        return (), UNREADABLE if known.failed(key) else COMPUTING
    except (ApiError, SampleStoreUnavailable) as error:
        return (), f"{UNREADABLE} {error}"


def _job_settings(job: JobRecord, collection: CollectionRecord | None) -> list[Setting]:
    """The configuration of the only benchmark; of several, what they have in common: the model."""
    settings = settings_of(job, 0, collection)
    return (
        settings
        if len(job.benchmarks) == 1
        else [each for each in settings if each.name.startswith("model.")]
    )


def _mark(job: JobRecord) -> str:
    """The state of a job for the title of a tab, with what is done while it runs."""
    done = share_done(job.benchmarks) if job.state is State.RUNNING else None
    return MARKS[job.state.value] if done is None else f"{MARKS[job.state.value]} {share(done, 1)}"


def _news(job: JobRecord, benchmarks: Sequence[BenchmarkView]) -> str:
    """A sentence about the job for screen readers: its state, or the first benchmark that runs."""
    running = next((each for each in benchmarks if each.done is not None), None)
    if job.state.terminal or running is None:
        return f"{job.request.name} {job.state.value.replace('_', ' ')}"
    left = running.pace.remaining_s
    return f"{running.planned.id} {share(running.done or 0.0, 1)}" + (
        f", {about(left)} left" if left is not None else ""
    )


def _actions(job: JobRecord) -> list[str]:
    """The names of the actions that make sense in the job's state."""
    return [
        "rerun" if job.state.terminal else "cancel",
        "unpin" if job.progress.pinned else "pin",
        "delete",
    ]


def _page(name: str, title: str, job: JobRecord, values: Mapping[str, Any]) -> Page:
    return Page(
        name=name,
        title=title,
        section="/ui/jobs",
        values=values,
        data={"job": _resource(job, values["lineage_records"]), "scores": values["scores"]},
        table=Table(columns=COLUMNS["benchmarks"], rows=list(rows_of(job, "benchmarks"))),
        refresh_s=3 if job.unfinished or values["samples_fault"] == COMPUTING else 15 if job.open else 0,
    )


def _resource(job: JobRecord, lineage: Sequence[JobRecord]) -> JobResource:
    return job_in_lineage(job, lineage) if in_lineage(job) else job_resource(job)


def _clock(services: Services) -> str:
    """What changes a page beside changes of jobs."""
    return f"{time.time() // CHECK_S} {services.comparisons.known.computed}"


def _name(job: JobRecord) -> str:
    return " · ".join(filter(None, (job.request.name, job.model_name)))


def _own_view(job: JobRecord) -> LineageView:
    """The benchmarks of the job itself, without those of its reruns."""
    names = benchmark_names(job.plan.benchmarks)
    return {name: Source(job, index) for index, name in enumerate(names)}


def _verdict(job: JobRecord, benchmarks: Sequence[BenchmarkView], overall: SuiteScore | None) -> str:
    """What the job's page says first about its outcome."""
    if job.state is State.COMPLETED and len(job.benchmarks) == 1 and benchmarks:
        return str(benchmarks[0].verdict or "")
    test = job.progress.test
    if test is not None:
        limits = (overall.low, overall.high) if overall else None
        words = words_of_test(test.passed, test.threshold, limits, lower_is_better=False)
        counted_in = len(job.benchmarks) - len(test.left_out)
        return f"{words if overall else words.result}; weighted mean of {counted(counted_in, 'benchmark')}"
    if len(job.benchmarks) > 1:
        states = Counter(benchmark.state for benchmark in job.benchmarks)
        return ", ".join(f"{states[each]:,} {each.value}" for each in State if states[each])
    return ""


async def _collection(request: ApiRequest, services: Services, job: JobRecord) -> CollectionRecord | None:
    """The collection of the job as it is now; None if it has none, or if it was deleted."""
    if job.request.collection is None:
        return None
    try:
        return await services.resources.get_collection(job.request.collection.id, request.identity)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


async def _earlier(services: Services, job: JobRecord, scope: str | None) -> JobRecord | None:
    """The newest earlier job with the same benchmarks to compare with, of the same model if there is one."""
    if not any(benchmark.result is not None for benchmark in job.benchmarks):
        return None
    first = job.plan.benchmarks[0]
    label = (
        {"collection_id": job.request.collection.id}
        if job.request.collection is not None
        else {"provider_id": first.provider_id, "benchmark_id": first.id}
    )
    found = await services.jobs.list(
        JobQuery(
            tenant=scope,
            limit=MAX_EARLIER,
            status=Terms(values=(State.COMPLETED.value,)),
            labels={name: Terms(values=(value,)) for name, value in label.items()},
            created_before=job.created_at,
        )
    )
    same = [each for each in found.items if _benchmarks(each) == _benchmarks(job) and each.id != job.id]
    return next((each for each in same if each.model_name == job.model_name), same[0] if same else None)


def _benchmarks(job: JobRecord) -> list[tuple[str, str]]:
    return [(each.provider_id, each.id) for each in job.plan.benchmarks]
