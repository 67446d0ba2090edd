"""The columns of a table of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

from msgspec import Struct

from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_repeats import mean_of
from evalhub_server.domain.samples import tokens_of
from evalhub_server.domain.table_formats import plain_cell

Kind = Literal["text", "short", "score", "duration", "count"]

TEXTS: dict[str, tuple[str, Kind]] = {
    "group": ("Group", "short"),
    "input": ("Input", "text"),
    "target": ("Expected", "short"),
    "answer": ("Answer", "short"),
    "output": ("Response", "text"),
    "error": ("Error", "text"),
    "explanation": ("Explanation", "text"),
    "tags": ("Tags", "short"),
}
"""Members of samples by name, with their headings."""

NOT_BY_DEFAULT = ("error", "explanation", "tags")
"""Columns that must be chosen. The response of a sample with an error shows the error."""
MAX_METRICS = 6
"""Metrics with a column by default."""
MAX_METADATA = 40
"""Keys of metadata that can be chosen."""
METRIC, METADATA = "metrics.", "metadata."


class Column(Struct, frozen=True):
    """A column. ``sort`` is the key by which it can be sorted; empty without one."""

    name: str
    label: str
    kind: Kind
    sort: str = ""

    @property
    def numeric(self) -> bool:
        return self.kind in ("score", "duration", "count")


class ShownColumns(Struct, frozen=True):
    """The columns of a page: those of the table, and the values that all rows have in common, with their columns."""

    columns: Sequence[Column]
    same: Sequence[tuple[Column, Any]]


def columns_of(index: SampleIndex, primary: str, samples: Sequence[dict[str, Any]]) -> list[Column]:
    """All columns that can be chosen; ``samples`` are the shown ones, whose metadata have columns."""
    columns = [
        Column(name, label, kind, "group" if name == "group" else "") for name, (label, kind) in TEXTS.items()
    ]
    metrics = sorted(index.metrics, key=lambda name: name != primary)
    columns += [Column(METRIC + name, name, "score", name) for name in metrics]
    columns += [Column("latency_s", "Time", "duration", "latency_s"), Column("tokens", "Tokens", "count")]
    keys = dict.fromkeys(key for sample in samples for key in _object(sample.get("metadata")))
    columns += [Column(METADATA + key, key, "short") for key in list(keys)[:MAX_METADATA]]
    return columns


def default_columns(columns: Sequence[Column]) -> list[Column]:
    metrics = [each for each in columns if each.name.startswith(METRIC)][:MAX_METRICS]
    return [
        each
        for each in columns
        if each in metrics or not (each.name.startswith((METRIC, METADATA)) or each.name in NOT_BY_DEFAULT)
    ]


def shown_columns(columns: Sequence[Column], rows: Sequence[dict[str, Any]], *, fold: bool) -> ShownColumns:
    """Leave out columns without any value and, to ``fold``, those with one value for all of several rows."""
    shown: list[Column] = []
    same: list[tuple[Column, Any]] = []
    for column in columns:
        values = [row[column.name] for row in rows]
        if all(value is None or value == "" for value in values):
            continue
        if fold and len(rows) > 1 and all(value == values[0] for value in values):
            same.append((column, values[0]))
        else:
            shown.append(column)
    return ShownColumns(shown, same)


def cell_values(
    columns: Sequence[Column], sample: dict[str, Any], index: SampleIndex, rows: Sequence[int]
) -> dict[str, Any]:
    """The values of a row; those of metrics are means over ``rows``, the repeats of the sample."""
    return {column.name: _value(column, sample, index, rows) for column in columns}


def _value(column: Column, sample: dict[str, Any], index: SampleIndex, rows: Sequence[int]) -> Any:
    name = column.name
    if name.startswith(METRIC):
        return mean_of(index.metrics[column.sort], rows)
    if name.startswith(METADATA):
        return plain_cell(_object(sample.get("metadata")).get(column.label))
    if name == "latency_s":
        value = mean_of(index.latency_s, rows)
        return value if value is not None and math.isfinite(value) else None
    if name == "tokens":
        return tokens_of(sample.get("usage"))
    if name == "tags":
        return ", ".join(sample.get("tags") or ())
    return plain_cell(sample.get(name))


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
