"""Leaderboards: ``/api/v1/evaluations/leaderboards``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from litestar import Router, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.comparison_view import (
    JobLeaderboard,
    LeaderboardEntry,
    LeftOutModel,
    compared_job,
    model_results,
)
from evalhub_server.domain.leaderboard_entries import (
    ChosenRuns,
    ModelRun,
    choose_runs,
    mark_settings,
    mean_of,
    mean_results,
    sorted_entries,
    weighted_score,
)
from evalhub_server.domain.lineage_view import LineageView, benchmark_names, lineages_of, view_of_lineage
from evalhub_server.domain.scoring import finite_number
from evalhub_server.engine.identity import Identity
from evalhub_server.plugins.storage import JobQuery, Terms
from evalhub_server.web.comparison_query import INVALID, job_of, listed_of, views_of
from evalhub_server.web.conditional import resource_response
from evalhub_server.web.leaderboard_query import (
    COLLECTION_BOARD,
    JOB_BOARD,
    BoardQuery,
    board_query,
    collection_board_query,
)
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
    query=COLLECTION_BOARD,
    success=LEADERBOARD_SUCCESS,
    errors=(
        *INVALID,
        problems.query_parameter_value_invalid("bench", "quickstart/arithmetic"),
        problems.query_parameter_invalid("since", "time with a zone such as 2026-01-31T12:00:00Z", "now"),
        not_found("collection"),
        STORE_UNAVAILABLE,
    ),
)


@route("/{collection_id:str}", http_method=READ_METHODS, operation=COLLECTION_LEADERBOARD)
async def collection_leaderboard(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Rank the models that ran a collection.

    Of each model the newest job counts that has results of all benchmarks, reruns included; `runs` chooses another one, or the mean
    of several. All pairs of models are tested on the samples that all of them have; models with overlapping ranges of ranks cannot be
    distinguished. The results name the settings in which a run differs from those that most models have.
    """
    query = Query(request.scope)
    query.allow_only(names(COLLECTION_LEADERBOARD.query))
    answer = await leaderboard_of_collection(
        services, request.identity, collection_id, collection_board_query(query)
    )
    return resource_response(request, encode_present(answer))


async def leaderboard_of_collection(
    services: Services, identity: Identity, collection_id: str, wanted: BoardQuery, *, wait: bool = True
) -> JobLeaderboard:
    """The leaderboard of a collection. ``wait``: samples that are being stored are awaited. Raises :class:`ApiError`."""
    collection = await services.resources.get_collection(collection_id, identity)
    members = collection.config.benchmarks
    declared = dict(zip(benchmark_names(members), (each.weight or 1.0 for each in members), strict=True))
    weights = {name: declared[name] for name in wanted.chosen(declared)}
    labels = {"collection_id": Terms(values=(collection_id,))}
    if wanted.models is not None:
        labels["model_name"] = wanted.models
    page = await services.jobs.list(
        JobQuery(tenant=identity.scope, labels=labels, created_after=wanted.since, limit=MAX_JOBS)
    )
    complete: dict[str, list[ModelRun]] = {}
    left_out: dict[str, tuple[LeftOutModel, LineageView]] = {}
    for jobs in sorted(lineages_of(page.items), key=lambda each: each[-1].created_at, reverse=True):
        job = jobs[-1]
        name = job.model_name
        if wanted.runs == "latest" and name in complete:  # only its number counts: no further jobs are read
            view = view_of_lineage(jobs)
        else:
            view = await services.comparisons.newest_view(job, identity)
        if missing := [each for each in weights if each not in view or not view[each].completed]:
            reason = f"no job of it has results of all benchmarks; {job.id} lacks {missing[0]}"
            if name not in left_out and name not in complete:
                found = LeftOutModel(model=name, reason=reason, results=model_results(view, weights))
                left_out[name] = found, view
        elif name not in complete and len(complete) == MAX_MODELS:
            left_out[name] = LeftOutModel(model=name, reason=f"more than {MAX_MODELS} models"), {}
        else:
            complete.setdefault(name, []).append(
                ModelRun(job=job, view={each: view[each] for each in weights})
            )
            left_out.pop(name, None)
    metric = wanted.question.metric
    chosen = {model: choose_runs(runs, wanted.runs, weights, metric) for model, runs in complete.items()}
    board = _Board(
        chosen=chosen,
        weights=weights,
        wanted=wanted,
        all_benchmarks=len(declared),
        left_out=tuple(left_out.values()),
        collection_id=collection_id,
    )
    return await _leaderboard(services, identity, board, wait=wait)


JOB_LEADERBOARD = Operation(
    query=(
        Parameter(
            name="jobs",
            description=f"Ids of jobs, or `name:NAME` of baselines, at most {MAX_MODELS}, separated by commas.",
            schema={"type": "string", "minLength": 1},
            allow_empty=False,
            required=True,
        ),
        *JOB_BOARD,
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
    wanted = board_query(query)
    references = listed_of(query, "jobs", MAX_MODELS)
    jobs = list(
        {
            job.id: job for job, _ in [await job_of(services, request.identity, each) for each in references]
        }.values()
    )
    if len(jobs) < 2:
        raise problems.too_few_jobs(len(jobs))
    views = await views_of(services, request.identity, jobs)
    declared = {name: source.planned.weight or 1.0 for name, source in views[0].items()}
    weights = {name: declared[name] for name in wanted.chosen(declared)}
    chosen: dict[str, ChosenRuns] = {}
    for job, view in zip(jobs, views, strict=True):
        name = job.model_name
        found = {each: source for each, source in view.items() if not wanted.benchmarks or each in weights}
        unique = f"{name} ({job.id})" if name in chosen or not name else name
        chosen[unique] = ChosenRuns(runs=[ModelRun(job=job, view=found)], complete=1)
    board = _Board(chosen=chosen, weights=weights, wanted=wanted, all_benchmarks=len(declared))
    answer = await _leaderboard(services, request.identity, board, wait=True)
    return resource_response(request, encode_present(answer))


class _Board(Struct, kw_only=True, frozen=True):
    """The models of a leaderboard with their runs, and the weights of the benchmarks to rank."""

    chosen: Mapping[str, ChosenRuns]
    weights: Mapping[str, float]
    wanted: BoardQuery
    all_benchmarks: int
    left_out: Sequence[tuple[LeftOutModel, LineageView]] = ()
    collection_id: str | None = None


async def _leaderboard(
    services: Services, identity: Identity, board: _Board, *, wait: bool
) -> JobLeaderboard:
    wanted, weights = board.wanted, board.weights
    views = [view for chosen in board.chosen.values() for view in chosen.views]
    settled = iter(await services.comparisons.settled(views, identity) if wait else views)
    models = {model: [next(settled) for _ in chosen.views] for model, chosen in board.chosen.items()}
    chosen_of = {model: chosen.chosen_of for model, chosen in board.chosen.items()}
    ranked = await services.comparisons.rank(models, weights, wanted.question, chosen_of)
    entries = sorted_entries(
        [_entry(model, chosen, models[model], board) for model, chosen in board.chosen.items()],
        ranked,
        wanted.sort,
    )
    left_out = () if wanted.hide_incomplete else board.left_out
    results = mark_settings(
        {each.model: each.results for each in (*entries, *(model for model, _ in left_out))},
        {each.model: models[each.model][0] for each in entries}
        | {each.model: view for each, view in left_out},
        weights,
    )
    return JobLeaderboard(
        collection_id=board.collection_id,
        runs=wanted.runs,
        all_benchmarks=board.all_benchmarks,
        incomplete=len(board.left_out),
        entries=tuple(replace(each, results=results[each.model]) for each in entries),
        left_out=tuple(replace(each, results=results[each.model]) for each, _ in left_out),
        leaderboard=ranked,
        metric=wanted.question.metric or None,
    )


def _entry(model: str, chosen: ChosenRuns, views: Sequence[LineageView], board: _Board) -> LeaderboardEntry:
    metric = board.wanted.question.metric
    if board.wanted.benchmarks:
        scores = [weighted_score(view, board.weights, metric) for view in views]
    else:
        tests = [each.job.progress.test for each in chosen.runs]
        scores = [finite_number(test.score) if test else None for test in tests]
    return LeaderboardEntry(
        model=model,
        job=compared_job(chosen.first.job, views[0]),
        score=mean_of(scores),
        results=mean_results(views, board.weights),
        complete_runs=chosen.complete,
        averaged=len(views),
        chosen_of=chosen.chosen_of,
        other_settings=chosen.other_settings,
    )


leaderboard_router = Router(
    "/api/v1/evaluations/leaderboards", route_handlers=[collection_leaderboard, job_leaderboard]
)
