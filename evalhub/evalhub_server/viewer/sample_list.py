"""One page of a list of samples: its rows, read from the sample file, with the values of their columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from evalhub_server.domain.lineage_view import Source
from evalhub_server.domain.sample_details import SampleDetails
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_query import FACETS, Rows, SampleQuery, select
from evalhub_server.domain.sample_repeats import SampleRepeats, has_repeats, repeats_of
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.engine.sample_store import primary_score
from evalhub_server.models.sample import Facet
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.viewer.sample_columns import Column, cell_values, columns_of
from evalhub_server.viewer.sample_filter import BenchmarkPages, each_repeat, list_filters, shown_rows
from evalhub_server.web.sample_query import start_after


class SampleRow(Struct, kw_only=True, frozen=True):
    """A sample in the table. ``repeats`` is None where each repeat is a row of its own; ``values`` are by column."""

    id: str
    epoch: int
    url: str
    outcome: str
    error: str
    repeats: SampleRepeats | None
    values: dict[str, Any]


class SampleList(Struct, kw_only=True, frozen=True):
    """One page of samples. ``total`` is the number of rows that the filters select, ``start`` the position of the first."""

    rows: Sequence[SampleRow]
    lines: Sequence[bytes]
    columns: Sequence[Column]
    facets: Sequence[Facet]
    total: int
    start: int
    after: int | None
    before: int | None


def list_samples(
    query: PageQuery,
    samples: SampleFile,
    details: SampleDetails,
    wanted: SampleQuery,
    source: Source,
    pages: BenchmarkPages,
) -> SampleList:
    """One page of samples. Blocks; raises :class:`ApiError`."""
    index = samples.index
    selection = select(index, wanted, samples.search, FACETS, details)
    rows = shown_rows(query, index, selection.rows)
    size = query.size()
    start = start_after(rows, query.integer("after", 0)) if query.text("after") else 0
    shown = rows[start : start + size]
    lines = samples.previews(shown)
    decoded = [cast("dict[str, Any]", msgspec.json.decode(line)) for line in lines]
    primary = primary_score(source.job, source.index)
    columns = columns_of(index, primary.metric if primary else "", decoded)
    filters = list_filters(query)
    merged = has_repeats(index) and not each_repeat(query)
    repeats = repeats_of(index, {index.ids[row] for row in shown}) if merged else {}
    return SampleList(
        rows=[
            _row(columns, row, sample, index, repeats.get(index.ids[row]), pages, filters)
            for row, sample in zip(shown, decoded, strict=True)
        ],
        lines=lines,
        columns=columns,
        facets=selection.facets,
        total=len(rows),
        start=start,
        after=shown[-1] if start + size < len(rows) else None,
        before=_before(rows, start, size),
    )


def _before(rows: Rows, start: int, size: int) -> int | None:
    """The cursor of the previous page; -1 for the first page, None if there is none."""
    if not start:
        return None
    return rows[start - size - 1] if start > size else -1


def _row(
    columns: Sequence[Column],
    row: int,
    sample: dict[str, Any],
    index: SampleIndex,
    repeats: SampleRepeats | None,
    pages: BenchmarkPages,
    filters: dict[str, list[str]],
) -> SampleRow:
    sample_id, epoch = index.ids[row], index.epochs[row]
    return SampleRow(
        id=sample_id,
        epoch=epoch,
        url=pages.sample(sample_id, epoch, filters),
        outcome=index.outcome(row),
        error=sample.get("error") or "",
        repeats=repeats,
        values=cell_values(columns, sample, index, repeats.rows if repeats else (row,)),
    )
