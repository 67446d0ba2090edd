"""Query parameters of comparisons, and the jobs that they name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import cast, get_args

from evalhub_server.domain import problems
from evalhub_server.domain.lineage_view import LineageView
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.statistics.columns import MAX_ABS_SCORE
from evalhub_server.domain.statistics.inputs import CompareOptions, MissingPolicy, WeightKind
from evalhub_server.domain.statistics.planning import MIN_MARGIN
from evalhub_server.engine.comparisons import Question
from evalhub_server.engine.identity import Identity
from evalhub_server.errors import ApiError
from evalhub_server.models.common import Json
from evalhub_server.web.openapi.operation import Parameter
from evalhub_server.web.openapi.parameters import boolean
from evalhub_server.web.query import Query
from evalhub_server.web.services import Services

NamedJob = tuple[JobRecord, str]
"""A job, and the name of the baseline by which a request refers to it."""

BY_NAME = "name:"
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)

_SHARE: Json = {"type": "number", "minimum": 1e-9, "exclusiveMaximum": 1}
ALPHA = Parameter(
    name="alpha",
    description="Two-sided error probability; intervals have the confidence 1 - alpha. Default: 0.05.",
    schema=_SHARE,
)
METRIC = Parameter(
    name="metric",
    description="The metric of all benchmarks; by default each one's primary metric.",
    schema={"type": "string"},
)
WEIGHTS = Parameter(
    name="weights",
    description="Weights of the mean over benchmarks: as `declared`, equal (`macro`) or by number of items (`pooled`).",
    schema={"type": "string", "enum": [*get_args(WeightKind)]},
)


def _policy(name: str, text: str) -> Parameter:
    return Parameter(
        name=name, description=text, schema={"type": "string", "enum": [*get_args(MissingPolicy)]}
    )


OPTIONS = (
    METRIC,
    ALPHA,
    WEIGHTS,
    _policy("model_errors", "Samples that the model failed: `wrong` (default), `exclude` or `refuse`."),
    _policy(
        "infrastructure_errors", "Other failed and missing samples: `exclude` (default), `wrong` or `refuse`."
    ),
    Parameter(
        name="allow_parameters",
        description="Parameters that may differ between the runs, separated by commas.",
        schema={"type": "string"},
    ),
    boolean("allow_prompt_change", "Inputs and targets of an item may differ.", default=False),
    boolean("allow_subset", "Runs of different `num_examples` are compared on common items.", default=False),
    boolean("exact", "Exact McNemar test instead of mid-p.", default=False),
)
MARGIN = Parameter(
    name="margin",
    description="Largest acceptable loss, in the metric's unit; enables the verdicts `not_worse` and `equivalent`.",
    schema={"type": "number", "minimum": MIN_MARGIN, "exclusiveMaximum": MAX_ABS_SCORE},
)
BENCHMARK = Parameter(
    name="benchmark",
    description="The benchmark's name in comparisons: `provider_id/id`, with `#2` where a job repeats one.",
    schema={"type": "string", "minLength": 1},
    allow_empty=False,
    required=True,
)
INVALID = (
    problems.query_parameter_invalid("alpha", "number above 0 and below 1", "5"),
    problems.query_parameter_value_invalid("weights", "|".join(get_args(WeightKind))),
    problems.query_bad_parameter("colour", ("metric", "alpha")),
    problems.unknown_metric("f2", ("accuracy", "f1")),
)


async def views_of(
    services: Services, identity: Identity, jobs: Sequence[JobRecord], wait: bool = True
) -> list[LineageView]:
    """The benchmarks of jobs with the results that count. ``wait``: samples that are being stored are awaited."""
    views = [await services.comparisons.view(job, identity) for job in jobs]
    return await services.comparisons.settled(views, identity) if wait else views


async def job_of(services: Services, identity: Identity, reference: str) -> NamedJob:
    """The job that a reference names, and the name of the baseline."""
    if not reference.startswith(BY_NAME):
        return await services.jobs.get(reference, identity), ""
    name = reference.removeprefix(BY_NAME)
    baseline = await services.baselines.get(name, identity)
    try:
        return await services.jobs.get(baseline.config.job_id, identity), name
    except ApiError as error:
        if error.status != 404:
            raise
        raise problems.baseline_job_missing(name, baseline.config.job_id) from None


def question_of(query: Query, margin: float | None = None) -> Question:
    alpha = number_of(query, "alpha", minimum=1e-9, below=1.0)
    policies = get_args(MissingPolicy)
    options = CompareOptions(
        alpha=0.05 if alpha is None else alpha,
        margin=margin,
        exact=query.boolean("exact", default=False),
        allow_parameters=tuple(
            each.strip()
            for text in query.texts("allow_parameters")
            for each in text.split(",")
            if each.strip()
        ),
        allow_prompt_change=query.boolean("allow_prompt_change", default=False),
        allow_subset=query.boolean("allow_subset", default=False),
        model_errors=cast("MissingPolicy", query.choice("model_errors", policies, "wrong")),
        infrastructure_errors=cast(
            "MissingPolicy", query.choice("infrastructure_errors", policies, "exclude")
        ),
    )
    weights = cast("WeightKind", query.choice("weights", get_args(WeightKind), "declared"))
    return Question(metric=query.text("metric"), options=options, weights=weights)


def number_of(query: Query, name: str, *, minimum: float, below: float) -> float | None:
    text = query.text(name)
    if not text:
        return None
    number = float(text) if len(text) < 40 and _NUMBER.fullmatch(text) else math.nan
    if not minimum <= number < below:
        kind = f"number of at least {minimum:g}" if below > 1 else "number above 0 and below 1"
        raise problems.query_parameter_invalid(name, kind, text)
    return number


def required_of(query: Query, name: str) -> str:
    text = query.text(name)
    if not text:
        raise problems.query_parameter_required(name)
    return text


def compared_parameters(most_candidates: int) -> tuple[Parameter, Parameter]:
    """The parameters that name the compared jobs."""
    return (
        Parameter(
            name="baseline",
            description="The id of a job, or `name:NAME` of a baseline.",
            schema={"type": "string", "minLength": 1},
            allow_empty=False,
            required=True,
        ),
        Parameter(
            name="candidate",
            description=f"The same for the candidates, at most {most_candidates}, separated by commas.",
            schema={"type": "string", "pattern": r"[^\s,]"},  # at least one that is not blank
            allow_empty=False,
            required=True,
        ),
    )


def listed_of(query: Query, name: str, limit: int) -> list[str]:
    """Values that are separated by commas, each once."""
    values = dict.fromkeys(
        each.strip() for text in query.texts(name) for each in text.split(",") if each.strip()
    )
    if not values:
        raise problems.query_parameter_required(name)
    if len(values) > limit:
        raise problems.query_parameter_invalid(name, f"list of at most {limit} jobs", f"{len(values)} jobs")
    return list(values)
