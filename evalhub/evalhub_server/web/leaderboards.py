"""Leaderboards: ``/api/v1/evaluations/leaderboards``."""

from __future__ import annotations

from collections.abc import Iterable

from litestar import Router, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.comparison_view import (
    JobLeaderboard,
    LeaderboardEntry,
    LeftOutModel,
    compared_job,
    model_results,
)
from evalhub_server.domain.lineage_view import LineageView, benchmark_names, lineages_of
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.scoring import finite_number
from evalhub_server.engine.comparisons import Question
from evalhub_server.engine.identity import Identity
from evalhub_server.plugins.storage import JobQuery, Terms
from evalhub_server.web.comparison_query import INVALID, OPTIONS, job_of, listed_of, question_of, views_of
from evalhub_server.web.conditional import resource_response
from evalhub_server.web.openapi import comparison_examples as examples
from evalhub_server.web.openapi.errors import ID, STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, Success, names
from evalhub_server.web.openapi.parameters import TAGGED
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode_present
from evalhub_server.web.services import Services

MAX_MODELS = 50
MAX_JOBS = 1000
"""Jobs of a collection that a leaderboard considers: the newest ones."""

LEADERBOARD_SUCCESS = Success(
    description="The leaderboard.", type=JobLeaderboard, example=examples.leaderboard, headers=TAGGED
)
COLLECTION_LEADERBOARD = Operation(
    query=OPTIONS, success=LEADERBOARD_SUCCESS, errors=(*INVALID, not_found("collection"), STORE_UNAVAILABLE)
)


@route("/{collection_id:str}", http_method=READ_METHODS, operation=COLLECTION_LEADERBOARD)
async def collection_leaderboard(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Rank the models that ran a collection.

    Of each model the newest job counts that has results of all benchmarks, reruns included. All pairs of models are tested on
    the samples that all of them have; models with overlapping ranges of ranks cannot be distinguished.
    """
    query = Query(request.scope)
    query.allow_only(names(COLLECTION_LEADERBOARD.query))
    question = question_of(query)
    answer = await leaderboard_of_collection(services, request.identity, collection_id, question)
    return resource_response(request, encode_present(answer))


async def leaderboard_of_collection(
    services: Services, identity: Identity, collection_id: str, question: Question, *, wait: bool = True
) -> JobLeaderboard:
    """The leaderboard of a collection. ``wait``: samples that are being stored are awaited. Raises :class:`ApiError`."""
    collection = await services.resources.get_collection(collection_id, identity)
    members = collection.config.benchmarks
    weights = {name: each.weight or 1.0 for name, each in zip(benchmark_names(members), members, strict=True)}
    page = await services.jobs.list(
        JobQuery(
            tenant=identity.scope,
            labels={"collection_id": Terms(values=(collection_id,))},
            limit=MAX_JOBS,
        )
    )
    chosen: dict[str, tuple[JobRecord, LineageView]] = {}
    left_out: dict[str, LeftOutModel] = {}
    for jobs in sorted(lineages_of(page.items), key=lambda each: each[-1].created_at, reverse=True):
        job = jobs[-1]
        name = job.model_name
        if name in chosen:
            continue
        view = await services.comparisons.newest_view(job, identity)
        if missing := [each for each in weights if each not in view or not view[each].completed]:
            reason = f"no job of it has results of all benchmarks; {job.id} lacks {missing[0]}"
            if name not in left_out:
                left_out[name] = LeftOutModel(model=name, reason=reason, results=model_results(view, weights))
        elif len(chosen) == MAX_MODELS:
            left_out[name] = LeftOutModel(model=name, reason=f"more than {MAX_MODELS} models")
        else:
            chosen[name] = job, {each: view[each] for each in weights}
            left_out.pop(name, None)
    return await _leaderboard(
        services, identity, chosen, left_out.values(), weights, question, collection_id, wait=wait
    )


JOB_LEADERBOARD = Operation(
    query=(
        Parameter(
            name="jobs",
            description=f"Ids of jobs, or `name:NAME` of baselines, at most {MAX_MODELS}, separated by commas.",
            schema={"type": "string", "minLength": 1},
            allow_empty=False,
            required=True,
        ),
        *OPTIONS,
    ),
    success=LEADERBOARD_SUCCESS,
    errors=(
        *INVALID,
        problems.query_parameter_required("jobs"),
        problems.too_few_jobs(1),
        not_found("evaluation job"),
        problems.not_found("baseline", "nightly"),
        problems.baseline_job_missing("nightly", ID),
        STORE_UNAVAILABLE,
    ),
)


@route("/", http_method=READ_METHODS, operation=JOB_LEADERBOARD)
async def job_leaderboard(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Rank the models of given jobs on the benchmarks of the first one.

    Jobs of one model are distinguished by their ids. A job without a result of one of the benchmarks is ranked on the others.
    """
    query = Query(request.scope)
    query.allow_only(names(JOB_LEADERBOARD.query))
    question = question_of(query)
    references = listed_of(query, "jobs", MAX_MODELS)
    jobs = list(
        {
            job.id: job for job, _ in [await job_of(services, request.identity, each) for each in references]
        }.values()
    )
    if len(jobs) < 2:
        raise problems.too_few_jobs(len(jobs))
    views = await views_of(services, request.identity, jobs)
    chosen: dict[str, tuple[JobRecord, LineageView]] = {}
    for job, view in zip(jobs, views, strict=True):
        name = job.model_name
        chosen[f"{name} ({job.id})" if name in chosen or not name else name] = job, view
    weights = {name: source.planned.weight or 1.0 for name, source in views[0].items()}
    answer = await _leaderboard(services, request.identity, chosen, (), weights, question, None, wait=True)
    return resource_response(request, encode_present(answer))


async def _leaderboard(
    services: Services,
    identity: Identity,
    chosen: dict[str, tuple[JobRecord, LineageView]],
    left_out: Iterable[LeftOutModel],
    weights: dict[str, float],
    question: Question,
    collection_id: str | None,
    *,
    wait: bool,
) -> JobLeaderboard:
    views = [view for _, view in chosen.values()]
    if wait:
        views = await services.comparisons.settled(views, identity)
    models = dict(zip(chosen, views, strict=True))
    return JobLeaderboard(
        collection_id=collection_id,
        entries=tuple(
            LeaderboardEntry(
                model=model,
                job=compared_job(job, models[model]),
                score=finite_number(job.progress.test.score) if job.progress.test else None,
                results=model_results(models[model], weights),
            )
            for model, (job, _) in chosen.items()
        ),
        left_out=tuple(left_out),
        leaderboard=await services.comparisons.rank(models, weights, question),
        metric=question.metric or None,
    )


leaderboard_router = Router(
    "/api/v1/evaluations/leaderboards", route_handlers=[collection_leaderboard, job_leaderboard]
)
