"""Queries over the samples of a benchmark: filters, order and facets, computed on the columns of an index."""

from __future__ import annotations

import math
import operator
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from evalhub_server.domain.facets import facet_values
from evalhub_server.domain.sample_details import ERROR, SampleDetails, ValueColumn
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.samples import ERROR_KINDS
from evalhub_server.models.sample import OUTCOMES, Facet, Outcome

Comparison = Literal["eq", "ne", "lt", "le", "gt", "ge", "has", "missing"]
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
FACETS = ("outcome", "group", "tag", "epoch", "error_kind", "error", "metadata")
"""``metadata`` is a facet for each key with few values, named ``metadata.<key>``."""
MISSABLE = ("group", "tag", "error_kind", "error")
"""Facets that a sample may have no value of; for keys of metadata, an empty value has this meaning."""
SORTS = ("position", "sample_id", "epoch", "outcome", "group", "latency_s")
"""Sort keys beside metrics; ``position`` is the order in the file."""

Rows = Sequence[int]
METADATA = "metadata."
"""What the names of facets of metadata begin with."""


class MetricFilter(Struct, kw_only=True, frozen=True):
    """A condition on a metric (or ``latency_s``). ``value`` is unused with ``has`` and ``missing``."""

    metric: str
    comparison: Comparison
    value: float = 0.0


class SampleQuery(Struct, kw_only=True, frozen=True):
    """Which samples, in which order. None or an empty collection is no condition.

    ``tags`` selects samples with at least one of them. ``metadata`` has keys, each with the texts of its values; an empty one
    is that of samples without the key. ``missing`` has facets of :data:`MISSABLE` of which the samples have no value.

    ``sort`` is one of :data:`SORTS` or the name of a metric; samples without a value come last in either direction.
    ``text`` is searched in the sample's text, ASCII letters regardless of case.
    """

    outcomes: Collection[Outcome] = ()
    groups: Collection[str] = ()
    tags: Collection[str] = ()
    epochs: Collection[int] = ()
    error_kinds: Collection[str] = ()
    errors: Collection[str] = ()
    metadata: Mapping[str, Collection[str]] = {}
    metrics: tuple[MetricFilter, ...] = ()
    missing: Collection[str] = ()
    text: str = ""
    sort: str = "position"
    descending: bool = False

    @property
    def unfiltered(self) -> bool:
        conditions = self.outcomes, self.groups, self.tags, self.epochs, self.error_kinds, self.metrics
        return not (any(conditions) or self.text or self.errors or self.metadata or self.missing)


class Selection(Struct, kw_only=True, frozen=True):
    """The rows that a query selects, in its order, and the facets that were requested."""

    rows: Rows
    facets: tuple[Facet, ...]


def select(
    index: SampleIndex,
    query: SampleQuery,
    search: Callable[[str, Rows], Collection[int]],
    facets: Collection[str] = (),
    details: SampleDetails | None = None,
) -> Selection:
    """Apply a query. ``search(text, rows)`` returns those of the rows whose sample contains the text.

    A facet counts the samples that all filters except its own select. ``details`` are required for what is not in the index:
    errors and metadata.
    """
    details = details or SampleDetails()
    facets = _facet_names(facets, details)
    conditions = [*_conditions(index, query), *_detail_conditions(details, query)]
    rows = _filtered(range(len(index)), conditions)
    found: Collection[int] | None = None
    if query.text:
        own = {name for name, _ in conditions}
        # With a facet whose filter is left out, the text must be known of more rows than the selected ones.
        wider = rows if own.isdisjoint(facets) else range(len(index))
        found = frozenset(search(query.text, wider))
        rows = [row for row in rows if row in found]
    counted: list[Facet] = []
    for facet in facets:
        others = [each for each in conditions if each[0] != facet]
        facet_rows: Rows = rows
        if len(others) < len(conditions):
            facet_rows = _filtered(range(len(index)), others)
            if found is not None:
                facet_rows = [row for row in facet_rows if row in found]
        counted.append(_facet(index, details, facet, facet_rows))
    return Selection(rows=_sorted(index, rows, query), facets=tuple(counted))


Condition = tuple[str, Callable[[Rows], Rows]]


def _filtered(rows: Rows, conditions: Sequence[Condition]) -> Rows:
    for _, keep in conditions:
        rows = keep(rows)
    return rows


def _conditions(index: SampleIndex, query: SampleQuery) -> list[Condition]:
    """(facet, function that keeps matching rows) for each condition except the text."""
    conditions: list[Condition] = []
    if query.outcomes:
        wanted = {OUTCOMES.index(outcome) for outcome in query.outcomes}
        conditions.append(("outcome", _in(index.outcomes, wanted)))
    if query.groups:
        wanted = {code for code, name in enumerate(index.group_names) if name in query.groups}
        conditions.append(("group", _in(index.groups, wanted)))
    if query.tags:
        wanted = {code for code, tags in enumerate(index.tag_sets) if not set(tags).isdisjoint(query.tags)}
        conditions.append(("tag", _in(index.tags, wanted)))
    if query.epochs:
        conditions.append(("epoch", _in(index.epochs, set(query.epochs))))
    if query.error_kinds:
        wanted = {ERROR_KINDS.index(kind) for kind in query.error_kinds}
        conditions.append(("error_kind", _in(index.error_kinds, wanted)))
    conditions += [("", _metric_condition(index, each)) for each in query.metrics]
    # The first name of each of these columns is that of samples without one.
    columns = {"group": index.groups, "tag": index.tags, "error_kind": index.error_kinds}
    conditions += [(name, _in(column, {0})) for name, column in columns.items() if name in query.missing]
    return conditions


def _facet_names(facets: Collection[str], details: SampleDetails) -> list[str]:
    """The names of facets with one for each key of metadata. Errors without a column have none."""
    names: list[str] = []
    for facet in facets:
        if facet == "metadata":
            names += [METADATA + key for key in details.metadata]
        elif facet != ERROR or details.error is not None:
            names.append(facet)
    return names


def _detail_conditions(details: SampleDetails, query: SampleQuery) -> list[Condition]:
    """Conditions on errors and metadata. What has no column matches nothing."""
    conditions: list[Condition] = []
    if query.errors:
        conditions.append((ERROR, _has_value(details.error, query.errors)))
    if ERROR in query.missing:
        conditions.append((ERROR, _has_value(details.error, ("",))))
    for key, values in query.metadata.items():
        conditions.append((METADATA + key, _has_value(details.metadata.get(key), values)))
    return conditions


def _has_value(column: ValueColumn | None, values: Collection[str]) -> Callable[[Rows], Rows]:
    return _in(column.codes, column.codes_of(values)) if column is not None else lambda _: []


def _in(column: Sequence[int], wanted: Collection[int]) -> Callable[[Rows], Rows]:
    return lambda rows: [row for row in rows if column[row] in wanted]


def _metric_condition(index: SampleIndex, condition: MetricFilter) -> Callable[[Rows], Rows]:
    column = _number_column(index, condition.metric)
    if condition.comparison == "missing":
        return lambda rows: [row for row in rows if math.isnan(column[row])]
    if condition.comparison == "has":
        return lambda rows: [row for row in rows if not math.isnan(column[row])]
    compare, value = COMPARISONS[condition.comparison], condition.value
    return lambda rows: [row for row in rows if not math.isnan(column[row]) and compare(column[row], value)]


def _number_column(index: SampleIndex, name: str) -> array[float]:
    return index.metrics.get(name, index.latency_s)


def _sorted(index: SampleIndex, rows: Rows, query: SampleQuery) -> Rows:
    key = query.sort
    if key == "position":
        return rows[::-1] if query.descending else rows
    if key in index.metrics or key == "latency_s":
        numbers = _number_column(index, key)
        present = [row for row in rows if not math.isnan(numbers[row])]
        missing = [row for row in rows if math.isnan(numbers[row])]
        present.sort(key=numbers.__getitem__, reverse=query.descending)
        return present + missing
    if key == "group":
        names = index.group_names
        return sorted(rows, key=lambda row: names[index.groups[row]], reverse=query.descending)
    columns: dict[str, Callable[[int], int | str]] = {
        "sample_id": index.ids.__getitem__,
        "epoch": index.epochs.__getitem__,
        "outcome": index.outcomes.__getitem__,
    }
    return sorted(rows, key=columns[key], reverse=query.descending)  # type: ignore[arg-type]  # one type per column


def _facet(index: SampleIndex, details: SampleDetails, facet: str, rows: Rows) -> Facet:
    if facet == ERROR and details.error is not None:
        return _value_facet(facet, details.error, rows)
    if facet.startswith(METADATA):
        return _value_facet(facet, details.metadata[facet.removeprefix(METADATA)], rows)
    columns: dict[str, tuple[Sequence[int], Callable[[int], Sequence[str]]]] = {
        "outcome": (index.outcomes, lambda code: (OUTCOMES[code],)),
        "group": (index.groups, lambda code: (index.group_names[code],)),
        "tag": (index.tags, index.tag_sets.__getitem__),
        "epoch": (index.epochs, lambda code: (str(code),)),
        "error_kind": (index.error_kinds, lambda code: (ERROR_KINDS[code],)),
    }
    column, names = columns[facet]
    counted: Counter[str] = Counter()
    for code, count in _counted(column, rows).items():
        for name in names(code):
            counted[name] += count
    return Facet(name=facet, distinct=len(counted), values=facet_values(counted))


def _value_facet(facet: str, column: ValueColumn, rows: Rows) -> Facet:
    counted = {column.values[code]: count for code, count in _counted(column.codes, rows).items()}
    return Facet(name=facet, distinct=len(counted), values=facet_values(counted))


def _counted(column: Sequence[int], rows: Rows) -> Counter[int]:
    """How many of the rows have each code."""
    return Counter(column if len(rows) == len(column) else map(column.__getitem__, rows))
