"""Query parameters of lists of jobs: filters, sort orders and views."""

from __future__ import annotations

from typing import cast, get_args

from evalhub_server.domain import problems
from evalhub_server.domain.job_labels import JOB_LABELS
from evalhub_server.engine.identity import Identity
from evalhub_server.plugins.storage import JobFacetName, JobQuery, JobSort
from evalhub_server.web.openapi.operation import Parameter, names
from evalhub_server.web.openapi.parameters import (
    LIMIT,
    NAME,
    OFFSET,
    OWNER,
    TAGS,
    choices,
    optional_boolean,
    terms,
)
from evalhub_server.web.query import Query

MAX_PREFIX = 100
_SORTS = get_args(JobSort)
SORT_VALUES = (*_SORTS, *(f"-{sort}" for sort in _SORTS))
VIEWS = ("full", "summary")
FACETS: tuple[JobFacetName, ...] = get_args(JobFacetName)

JOB_FILTERS = (
    LIMIT,
    OFFSET,
    terms("status", "State, such as `running`.", negatable=True),
    NAME,
    TAGS,
    OWNER,
    terms("experiment_id", "The tracker's id of the experiment.", negatable=True),
    terms("model_name", "`model.name`.", negatable=True),
    terms("model_url", "`model.url`.", negatable=True),
    terms("provider_id", "Providers of the job's benchmarks."),
    terms("benchmark_id", "The job's benchmarks."),
    terms("collection_id", "The collection that the job runs.", negatable=True),
    terms("experiment_name", "`experiment.name`.", negatable=True),
    terms("derived_from", "The job that this one repeats.", negatable=True),
    terms(
        "lineage",
        "The first job of a chain of reruns: finds all that repeat it, directly or not.",
        negatable=True,
    ),
    Parameter(
        name="name_prefix",
        description="The beginning of the name.",
        schema={"type": "string", "maxLength": MAX_PREFIX},
    ),
    Parameter(
        name="created_after",
        description="Only jobs that were created at this time, with a zone, or later.",
        schema={"type": "string", "format": "date-time"},
    ),
    Parameter(
        name="created_before",
        description="Only jobs that were created before this time, with a zone.",
        schema={"type": "string", "format": "date-time"},
    ),
    optional_boolean("pinned", "Only jobs that are pinned (`true`), or only the others (`false`)."),
)
JOB_FILTER_NAMES = names(JOB_FILTERS)

JOB_LIST_PARAMETERS = (
    *JOB_FILTERS,
    Parameter(
        name="sort_by",
        description=(
            "The sort order; `-` before it means descending. Jobs without a duration or a score come last in either direction."
        ),
        schema={"type": "string", "enum": [*SORT_VALUES], "default": "-created_at"},
    ),
    optional_boolean(
        "running_first",
        "`true`: jobs that run come before all others, both in the sort order. Not together with `status`.",
    ),
    Parameter(
        name="view",
        description=(
            "`summary` leaves out benchmarks, results of benchmarks and details of the request, for lists that show many jobs."
        ),
        schema={"type": "string", "enum": [*VIEWS], "default": "full"},
    ),
    choices(
        "facets",
        (
            "Properties to count jobs by, separated by commas: `status`, `owner`, `tags`, `model_name`, `model_url`, `provider_id`, "
            "`benchmark_id`, `collection_id`, `experiment_name`. Each facet counts the newest 5,000 jobs that all filters except its "
            "own select."
        ),
        FACETS,
    ),
)
JOB_LIST_NAMES = names(JOB_LIST_PARAMETERS)

_SEVERAL_VALUES = ("provider_id", "benchmark_id")


def job_query(query: Query, limit: int, offset: int, identity: Identity) -> JobQuery:
    """The query of a list of jobs that ``identity`` can see. Raises :class:`ApiError` for an invalid parameter."""
    labels = {name: query.terms(name, negatable=name not in _SEVERAL_VALUES) for name in JOB_LABELS}
    prefix = query.text("name_prefix")
    if len(prefix) > MAX_PREFIX:
        kind = f"prefix of at most {MAX_PREFIX} characters"
        raise problems.query_parameter_invalid("name_prefix", kind, f"{prefix[:MAX_PREFIX]}…")
    sort = query.choice("sort_by", SORT_VALUES, "-created_at")
    return JobQuery(
        tenant=identity.scope,
        limit=limit,
        offset=offset,
        status=query.terms("status", negatable=True),
        name=query.terms("name"),
        tags=query.terms("tags"),
        owner=query.terms("owner", negatable=True),
        experiment_id=query.terms("experiment_id", negatable=True),
        labels={name: terms for name, terms in labels.items() if terms is not None},
        name_prefix=prefix,
        created_after=query.moment("created_after"),
        created_before=query.moment("created_before"),
        pinned=query.boolean("pinned", False) if query.text("pinned") else None,
        sort=cast("JobSort", sort.removeprefix("-")),
        descending=sort.startswith("-"),
    )
