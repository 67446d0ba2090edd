"""Comparisons of jobs, and scores of one: ``/api/v1/evaluations/comparisons``, ``…/jobs/{job_id}/scores``."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import Router, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.comparison_view import CandidateComparison, JobComparison, JobScores, compared_job
from evalhub_server.domain.configuration import view_differences
from evalhub_server.domain.lineage_view import LineageView
from evalhub_server.domain.overall_score import overall_score
from evalhub_server.domain.statistics.columns import MAX_ABS_SCORE
from evalhub_server.domain.statistics.planning import MIN_MARGIN
from evalhub_server.domain.statistics.suite import adjust_candidates
from evalhub_server.engine.comparisons import Question
from evalhub_server.web.comparison_query import (
    INVALID,
    MARGIN,
    OPTIONS,
    NamedJob,
    compared_parameters,
    job_of,
    listed_of,
    number_of,
    question_of,
    required_of,
    views_of,
)
from evalhub_server.web.conditional import resource_response
from evalhub_server.web.openapi import comparison_examples as examples
from evalhub_server.web.openapi.errors import ID, STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, Success, names
from evalhub_server.web.openapi.parameters import TAGGED
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode_present
from evalhub_server.web.services import Services

MAX_CANDIDATES = 20


async def comparison_of(
    services: Services, jobs: Sequence[NamedJob], views: Sequence[LineageView], question: Question
) -> JobComparison:
    """The comparison of the first of the jobs with the others. ``views`` are those of the jobs."""
    (baseline, name), *candidates = jobs
    base, *others = views
    if any(job.id == baseline.id for job, _ in candidates):
        raise problems.same_job(baseline.id)
    found = {
        job.id: await services.comparisons.compare(base, view, question)
        for (job, _), view in zip(candidates, others, strict=True)
    }
    adjusted = adjust_candidates(found)
    return JobComparison(
        baseline=compared_job(baseline, base, name),
        candidates=tuple(
            CandidateComparison(
                job=compared_job(job, view, name),
                comparison=adjusted[job.id],
                configuration=view_differences(base, view),
            )
            for (job, name), view in zip(candidates, others, strict=True)
        ),
        options=question.options,
        metric=question.metric or None,
    )


COMPARE_JOBS = Operation(
    query=(
        *compared_parameters(MAX_CANDIDATES),
        MARGIN,
        *OPTIONS,
    ),
    success=Success(
        description="The comparison.", type=JobComparison, example=examples.comparison, headers=TAGGED
    ),
    errors=(
        *INVALID,
        problems.query_parameter_required("candidate"),
        problems.same_job(ID),
        not_found("evaluation job"),
        problems.not_found("baseline", "nightly"),
        problems.baseline_job_missing("nightly", ID),
        STORE_UNAVAILABLE,
    ),
)


@route("/", http_method=READ_METHODS, operation=COMPARE_JOBS)
async def compare_jobs(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Compare jobs with a baseline.

    For each candidate: the verdict on the whole suite, then for each benchmark both scores with intervals, the difference with
    interval and p value (adjusted over all benchmarks), the samples whose answer changed, and the reasons where there is no
    verdict: other items, other prompts, other parameters, missing samples. Benchmarks are matched by provider, id and
    occurrence.

    The results of a job include those of its reruns for benchmarks that it did not complete. Samples are compared in pairs;
    without samples a difference is labelled `unpaired`, and without standard errors it has no verdict. Samples that are still
    being stored are awaited for ten seconds; the comparison is `incomplete` then. The members `evidence` are the sufficient
    statistics, from which quality gates compute other margins. `configuration` has the settings in which the jobs differ.
    """
    query = Query(request.scope)
    query.allow_only(names(COMPARE_JOBS.query))
    question = question_of(query, margin=number_of(query, "margin", minimum=MIN_MARGIN, below=MAX_ABS_SCORE))
    wanted = [required_of(query, "baseline"), *listed_of(query, "candidate", MAX_CANDIDATES)]
    jobs = [await job_of(services, request.identity, reference) for reference in wanted]
    views = await views_of(services, request.identity, [job for job, _ in jobs])
    answer = await comparison_of(services, jobs, views, question)
    return resource_response(request, encode_present(answer))


JOB_SCORES = Operation(
    query=OPTIONS,
    success=Success(description="The scores.", type=JobScores, example=examples.scores, headers=TAGGED),
    errors=(*INVALID, not_found("evaluation job"), STORE_UNAVAILABLE),
)


@route("/", http_method=READ_METHODS, operation=JOB_SCORES)
async def job_scores(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Get the scores of a job with their intervals.

    The results of reruns are included as in comparisons. Where the mean of the samples differs from the reported score, the
    reported one is shown without an interval.
    """
    query = Query(request.scope)
    query.allow_only(names(JOB_SCORES.query))
    question = question_of(query)
    job = await services.jobs.get(job_id, request.identity)
    (view,) = await views_of(services, request.identity, [job])
    scores = await services.comparisons.scores(view, question)
    answer = JobScores(
        job=compared_job(job, view),
        scores=scores,
        missing=tuple(name for name, source in view.items() if not source.completed),
        alpha=question.options.alpha,
        metric=question.metric or None,
        overall=overall_score(view, scores) if not question.metric else None,
    )
    return resource_response(request, encode_present(answer))


comparison_router = Router("/api/v1/evaluations/comparisons", route_handlers=[compare_jobs])
score_router = Router("/api/v1/evaluations/jobs/{job_id:str}/scores", route_handlers=[job_scores])
