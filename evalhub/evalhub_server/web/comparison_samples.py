"""Samples of a benchmark in several jobs, by how they changed: ``/api/v1/evaluations/comparisons/samples``."""

from __future__ import annotations

from litestar import Router, route
from litestar.di import NamedDependency

from evalhub_server.domain import problems
from evalhub_server.domain.changed_rows import SORTS
from evalhub_server.domain.comparison_view import ChangedSamples
from evalhub_server.domain.statistics.changes import CHANGES
from evalhub_server.web.comparison_query import (
    BENCHMARK,
    INVALID,
    OPTIONS,
    compared_parameters,
    job_of,
    listed_of,
    question_of,
    required_of,
    views_of,
)
from evalhub_server.web.openapi import comparison_examples as examples
from evalhub_server.web.openapi.errors import ID, STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, Success, names
from evalhub_server.web.openapi.parameters import LIMIT, OFFSET, choices
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode, json_response
from evalhub_server.web.sample_changes import FACETS, OTHER_CONTENT, changed_samples, row_conditions
from evalhub_server.web.sample_query import MAX_TEXT_CHARACTERS, METADATA_FILTER
from evalhub_server.web.services import Services

MAX_RUNS = 8

_SAMPLE_OPTIONS = tuple(
    each for each in OPTIONS if each.name in ("metric", "model_errors", "infrastructure_errors")
)
COMPARE_SAMPLES = Operation(
    query=(
        *compared_parameters(MAX_RUNS - 1),
        BENCHMARK,
        choices(
            "change",
            "How the sample changed in a candidate, separated by commas: `broken` (worse than in the baseline), `fixed` (better), "
            "`both_failed`, `both_passed`, `unchanged` (scores other than right and wrong), `not_scored`, `only_baseline`, "
            "`only_candidate`, or `other_content` (input or target differs). By default all samples.",
            (*CHANGES, OTHER_CONTENT),
        ),
        Parameter(
            name="group",
            description="Exact group; that of the baseline's sample, or of the first candidate that has the sample. Repeat it for "
            "several values.",
            schema={"type": "string"},
        ),
        Parameter(
            name="q",
            description="Text that the sample contains in any of the jobs, ASCII letters regardless of case.",
            schema={"type": "string", "maxLength": MAX_TEXT_CHARACTERS},
        ),
        METADATA_FILTER,
        Parameter(
            name="sort",
            description="Order of the samples: `change` (in the order of the changes, the largest difference first), `delta` (by the size of "
            "the difference) or `sample_id`; `-` before the last two means descending.",
            schema={"type": "string", "enum": [*SORTS], "default": SORTS[0]},
        ),
        choices(
            "facets",
            "Facets to count, separated by commas: `group`, `metadata`: the last one counts each key with up to 30 different values, "
            "as `metadata.<key>`.",
            FACETS,
        ),
        LIMIT,
        OFFSET,
        *_SAMPLE_OPTIONS,
    ),
    success=Success(description="One page of samples.", type=ChangedSamples, example=examples.samples),
    errors=(
        *INVALID[2:],
        problems.query_parameter_required("benchmark"),
        problems.query_parameter_value_invalid("change", "|".join((*CHANGES, OTHER_CONTENT))),
        problems.query_parameter_invalid("limit", "integer", "ten"),
        problems.same_job(ID),
        not_found("evaluation job"),
        problems.not_found("baseline", "nightly"),
        problems.not_found("benchmark", "quickstart/arithmetic"),
        problems.samples_not_available(ID, 0, "none", ""),
        problems.baseline_job_missing("nightly", ID),
        STORE_UNAVAILABLE,
    ),
)


@route("/samples", http_method=READ_METHODS, operation=COMPARE_SAMPLES)
async def compare_samples(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """List the samples of a benchmark by how they changed.

    Each sample has its scores and its texts in the baseline and in each candidate. The changes are counted from the scores that
    comparisons compare, so the samples behind `fixed` and `broken` of a comparison are those with these changes. Samples come in
    the order of the changes, the largest difference first; long texts are shortened. Candidates without samples are left out, with
    the reason.
    """
    query = Query(request.scope)
    query.allow_only(names(COMPARE_SAMPLES.query))
    limit, offset = query.page()
    question = question_of(query)
    references = [required_of(query, "baseline"), *listed_of(query, "candidate", MAX_RUNS - 1)]
    benchmark = required_of(query, "benchmark")
    wanted = query.choices("change", (*CHANGES, OTHER_CONTENT))
    jobs = [await job_of(services, request.identity, reference) for reference in references]
    views = await views_of(services, request.identity, [job for job, _ in jobs])
    found = await changed_samples(services, jobs, views, benchmark, question)
    rows, facets = await found.select(wanted, row_conditions(query), query.choices("facets", FACETS))
    first, following = query.links(limit, offset, len(rows))
    items = await found.read(rows[offset : offset + limit])
    return json_response(encode(found.page(first, following, limit, len(rows), items, facets)))


sample_comparison_router = Router("/api/v1/evaluations/comparisons", route_handlers=[compare_samples])
