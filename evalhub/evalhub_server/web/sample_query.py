"""Query parameters of sample lists: their documentation and their parser."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Collection, Sequence
from typing import cast

from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.domain.sample_details import SampleDetails
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_query import (
    COMPARISONS,
    FACETS,
    MISSABLE,
    SORTS,
    Comparison,
    MetricFilter,
    Rows,
    SampleQuery,
)
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.models.sample import OUTCOMES, Outcome
from evalhub_server.web.openapi.operation import Parameter
from evalhub_server.web.openapi.parameters import LIMIT, OFFSET, choices, separated
from evalhub_server.web.query import Query

MAX_TEXT_CHARACTERS = 1000
ERROR_KINDS = ("model", "infrastructure")


_EPOCH = r"[0-9]{1,18}"


def _values(name: str, description: str, pattern: str = "") -> Parameter:
    schema = {"type": "string", "pattern": f"^({pattern})?$"} if pattern else {"type": "string"}
    return Parameter(name=name, description=f"{description} Repeat it for several values.", schema=schema)


METADATA_FILTER = _values(
    "metadata",
    "Value of a key of the metadata: `topic:law`, or `topic:` for samples without one. Several values of one key are "
    "alternatives. Keys with up to 30 different values can be used, in files up to 64 MiB.",
)

FILTERS = (
    _values(
        "outcome",
        "Outcome: `passed`, `failed`, `error` or `unscored`. `|` separates several values, too.",
        separated(OUTCOMES, "|"),
    ),
    Parameter(
        name="q",
        description="Text that the sample contains, ASCII letters regardless of case.",
        schema={"type": "string", "maxLength": MAX_TEXT_CHARACTERS},
    ),
    _values("group", "Exact group."),
    _values("tag", "Exact tag; samples with at least one of the values."),
    _values("epoch", "Epoch, from 0.", _EPOCH),
    _values("error_kind", "Kind of error: `model` or `infrastructure`.", "|".join(ERROR_KINDS)),
    _values("error", "Exact text of the error."),
    METADATA_FILTER,
    _values(
        "metric",
        "Condition on a metric or `latency_s`: `name:op:value` with the operators `eq`, `ne`, `lt`, `le`, `gt` and `ge`, or "
        "`name:has` and `name:missing`.",
    ),
    _values(
        "missing",
        "Samples without a value: `group`, `tag`, `error_kind` or `error`. With several, samples without any of them.",
        "|".join(MISSABLE),
    ),
    Parameter(
        name="sort",
        description="Sort key: `position` (in the file), `sample_id`, `epoch`, `outcome`, `group`, `latency_s` or the name of a "
        "metric. A leading `-` reverses the order; samples without a value come last.",
        schema={"type": "string", "default": "position"},
    ),
)
"""Parameters of lists and of files."""

PAGE = (
    LIMIT,
    OFFSET,
    Parameter(
        name="after",
        description="Continue after this sample: a cursor from `next`. Not together with `offset`.",
        schema={"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    ),
    choices(
        "facets",
        "Facets to count, separated by commas: `outcome`, `group`, `tag`, `epoch`, `error_kind`, `error`, `metadata`: the last one counts each key with "
        "up to 30 different values, as `metadata.<key>`.",
        FACETS,
    ),
    Parameter(
        name="sample_id",
        description="Only the sample with this id, whole, in the epoch `epoch` (default 0). Other parameters are not allowed.",
        schema={"type": "string"},
    ),
)
INVALID = (
    problems.query_parameter_value_invalid("outcome", "|".join(OUTCOMES)),
    problems.query_parameter_invalid("limit", "integer", "ten"),
    problems.query_parameter_mismatch(("offset", "after")),
    problems.query_bad_parameter("colour", ("limit", "offset", "outcome")),
)
"""Examples of the errors of :func:`sample_query` and :func:`page_of`."""


class PageQuery(Struct, kw_only=True, frozen=True):
    """Which page. ``after`` is the row of the last sample of the page before, or None."""

    limit: int
    offset: int
    after: int | None
    facets: tuple[str, ...]


async def details_for(query: Query, samples: SampleFile, facets: Collection[str] = ()) -> SampleDetails:
    """The columns that are not in the index, if the filters or the facets need them."""
    if (
        query.texts("error")
        or "error" in query.texts("missing")
        or query.texts("metadata")
        or not _NEED_DETAILS.isdisjoint(facets)
    ):
        return await asyncio.to_thread(lambda: samples.details)
    return SampleDetails()


_NEED_DETAILS = frozenset({"error", "metadata"})


def sample_query(query: Query, index: SampleIndex, details: SampleDetails) -> SampleQuery:
    """The filters and the order. Raises :class:`ApiError` for what this benchmark does not have."""
    outcomes = [value for text in query.texts("outcome") for value in text.split("|")]
    for outcome in outcomes:
        _one_of("outcome", outcome, OUTCOMES)
    for kind in query.texts("error_kind"):
        _one_of("error_kind", kind, ERROR_KINDS)
    for name in query.texts("missing"):
        _one_of("missing", name, MISSABLE)
    text = searched_text(query)
    sort = query.text("sort") or "position"
    key = sort.removeprefix("-")
    if key not in index.metrics:
        _one_of("sort", key, (*SORTS, *index.metrics))
    return SampleQuery(
        outcomes=cast("list[Outcome]", outcomes),
        groups=query.texts("group"),
        tags=query.texts("tag"),
        epochs=[epoch_number(value) for value in query.texts("epoch")],
        error_kinds=query.texts("error_kind"),
        errors=query.texts("error"),
        metadata=metadata_filters(query.texts("metadata"), details.metadata),
        metrics=tuple(_metric_filter(value, index) for value in query.texts("metric")),
        missing=query.texts("missing"),
        text=text,
        sort=key,
        descending=sort.startswith("-"),
    )


def searched_text(query: Query) -> str:
    """The text of the parameter ``q``. Raises :class:`ApiError`."""
    text = query.text("q")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise problems.query_parameter_invalid(
            "q", f"text of up to {MAX_TEXT_CHARACTERS} characters", text[:60] + "…"
        )
    return text


def page_of(query: Query) -> PageQuery:
    """Which page, and the facets. Raises :class:`ApiError`."""
    limit, offset = query.page()
    after = query.integer("after", 0) if query.text("after") else None
    if after is not None and query.text("offset"):
        raise problems.query_parameter_mismatch(("offset", "after"))
    facets = query.choices("facets", FACETS)
    return PageQuery(limit=limit, offset=offset, after=after, facets=tuple(facets))


def one_sample(query: Query) -> tuple[str, int]:
    """(sample id, epoch) of a permalink. Raises :class:`ApiError`."""
    query.allow_only(("sample_id", "epoch"))
    return query.text("sample_id"), epoch_of(query)


def epoch_of(query: Query) -> int:
    """The epoch of a permalink; 0 by default. Raises :class:`ApiError`."""
    return epoch_number(query.text("epoch") or "0")


def row_of(index: SampleIndex, sample_id: str, epoch: int) -> int:
    """The row of a sample. Raises :class:`ApiError` (404) if there is none."""
    row = index.find(sample_id, epoch)
    if row is None:
        raise problems.not_found("sample", sample_id if epoch == 0 else f"{sample_id} (epoch {epoch})")
    return row


def start_after(rows: Rows, after: int) -> int:
    """The position in a selection after the row ``after``. Raises :class:`ApiError` if it is not in the selection."""
    try:
        return rows.index(after) + 1
    except ValueError:
        kind = "cursor of this list; take it from next, with the same filters and sort"
        raise problems.query_parameter_invalid("after", kind, str(after)) from None


def epoch_number(text: str, name: str = "epoch") -> int:
    """The number of an epoch in the parameter ``name``. Raises :class:`ApiError`."""
    if not re.fullmatch(_EPOCH, text):
        raise problems.query_parameter_invalid(name, "non-negative integer", text)
    return int(text)


def metadata_filters(texts: Sequence[str], known: Collection[str]) -> dict[str, list[str]]:
    """The values of the parameter ``metadata`` by key. Raises :class:`ApiError` for a key that is not ``known``.

    Keys may contain colons, so they are recognised by the longest one that fits.
    """
    filters: dict[str, list[str]] = {}
    for text in texts:
        keys = [key for key in known if text.startswith(f"{key}:")]
        if not keys:
            allowed = "|".join(f"{key}:…" for key in known)
            raise problems.query_parameter_value_invalid("metadata", allowed or "no key of this benchmark")
        key = max(keys, key=len)
        filters.setdefault(key, []).append(text[len(key) + 1 :])
    return filters


def _metric_filter(text: str, index: SampleIndex) -> MetricFilter:
    metric, _, comparison = text.rpartition(":")
    if comparison in ("has", "missing"):
        value = 0.0
    else:
        metric, _, comparison = metric.rpartition(":")
        if comparison not in COMPARISONS:
            raise problems.query_parameter_invalid(
                "metric", "condition such as acc:ge:0.5 or acc:missing", text
            )
        value = _number(text)
    if metric != "latency_s" and metric not in index.metrics:
        raise problems.query_parameter_value_invalid("metric", "|".join(("latency_s", *index.metrics)))
    return MetricFilter(metric=metric, comparison=cast("Comparison", comparison), value=value)


def _number(condition: str) -> float:
    try:
        value = float(condition.rpartition(":")[2])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise problems.query_parameter_invalid("metric", "condition with a number", condition)
    return value


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise problems.query_parameter_value_invalid(name, "|".join(allowed))
