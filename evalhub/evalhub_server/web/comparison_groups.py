"""Differences of jobs in parts of the samples of a benchmark: ``/api/v1/evaluations/comparisons/groups``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from litestar import Router, route
from litestar.di import NamedDependency

from evalhub_server.domain import problems
from evalhub_server.domain.comparison_view import CandidateGroups, GroupComparison
from evalhub_server.domain.lineage_view import LineageView, Source
from evalhub_server.engine.comparisons import Question
from evalhub_server.errors import ApiError
from evalhub_server.web.comparison_query import (
    BENCHMARK,
    INVALID,
    OPTIONS,
    NamedJob,
    compared_parameters,
    job_of,
    listed_of,
    question_of,
    required_of,
    views_of,
)
from evalhub_server.web.comparison_samples import MAX_RUNS
from evalhub_server.web.conditional import resource_response
from evalhub_server.web.openapi import comparison_examples as examples
from evalhub_server.web.openapi.errors import ID, STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, Success, names
from evalhub_server.web.openapi.parameters import TAGGED
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode_present
from evalhub_server.web.services import Services

COMPARE_GROUPS = Operation(
    query=(
        *compared_parameters(MAX_RUNS - 1),
        BENCHMARK,
        Parameter(
            name="by",
            description="Key of the metadata of the baseline's samples, with up to 30 different values; by default the group of samples.",
            schema={"type": "string"},
        ),
        *OPTIONS,
    ),
    success=Success(
        description="The differences.", type=GroupComparison, example=examples.groups, headers=TAGGED
    ),
    errors=(
        *INVALID,
        problems.query_parameter_required("benchmark"),
        problems.query_parameter_value_invalid("by", "topic|difficulty"),
        problems.same_job(ID),
        not_found("evaluation job"),
        problems.not_found("baseline", "nightly"),
        problems.not_found("benchmark", "quickstart/arithmetic"),
        problems.baseline_job_missing("nightly", ID),
        STORE_UNAVAILABLE,
    ),
)


@route("/groups", http_method=READ_METHODS, operation=COMPARE_GROUPS)
async def compare_groups(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Compare the samples of each group of a benchmark, or those with each value of a key of their metadata.

    This is exploratory: p values and intervals are adjusted by Holm's method over the groups, not over benchmarks or metrics.
    Candidates have no groups where samples have none, where groups are sampled clusters, and with more than 50 groups.
    """
    query = Query(request.scope)
    query.allow_only(names(COMPARE_GROUPS.query))
    question = question_of(query)
    references = [required_of(query, "baseline"), *listed_of(query, "candidate", MAX_RUNS - 1)]
    benchmark = required_of(query, "benchmark")
    jobs = [await job_of(services, request.identity, reference) for reference in references]
    views = await views_of(services, request.identity, [job for job, _ in jobs])
    by = query.text("by")
    answer = await group_comparison(services, jobs, views, benchmark, question, by)
    return resource_response(request, encode_present(answer))


async def group_comparison(
    services: Services,
    jobs: Sequence[NamedJob],
    views: Sequence[LineageView],
    benchmark: str,
    question: Question,
    by: str,
) -> GroupComparison:
    """The differences from the first of the jobs. Raises :class:`ApiError` for an unknown benchmark or key of metadata."""
    ids = [job.id for job, _ in jobs]
    if ids[0] in ids[1:]:
        raise problems.same_job(ids[0])
    if not any(benchmark in view for view in views):
        raise problems.not_found("benchmark", benchmark)
    base, *others = (view.get(benchmark) for view in views)
    if by and by not in (keys := await metadata_keys(services, base)):
        raise problems.query_parameter_value_invalid("by", "|".join(keys))
    candidates = [
        CandidateGroups(
            job_id=job_id,
            groups=await services.comparisons.group_differences(base, source, question, by)
            if base is not None and source is not None
            else (),
        )
        for job_id, source in zip(ids[1:], others, strict=True)
    ]
    return GroupComparison(benchmark=benchmark, by=by or None, candidates=tuple(candidates))


async def metadata_keys(services: Services, source: Source | None) -> list[str]:
    """The keys of the metadata of a run's samples that have few values; none without samples."""
    if source is None or not source.completed:
        return []
    try:
        samples = await services.files.open_samples(source.job, source.index)
    except ApiError as error:
        if error.status >= 500:
            raise
        return []
    return list((await asyncio.to_thread(lambda: samples.details)).metadata)


group_comparison_router = Router("/api/v1/evaluations/comparisons", route_handlers=[compare_groups])
