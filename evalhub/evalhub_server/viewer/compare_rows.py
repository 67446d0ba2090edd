"""The rows of the page that compares jobs: samples with the responses of all runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec
from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.comparison_view import ChangedSample, ChangedSamples, RunSample
from evalhub_server.domain.table_formats import plain_cell
from evalhub_server.models.sample import Sample
from evalhub_server.viewer.page import Table
from evalhub_server.viewer.page_query import with_query
from evalhub_server.viewer.word_diff import diff_html, text_diff

MAX_DIFF_CHARACTERS = 400
"""Longest responses that are compared in the table; the page of a sample compares longer ones."""


class Run(Struct, kw_only=True, frozen=True):
    """A column. ``missing``: why the job cannot be compared, such as its deletion."""

    letter: str
    reference: str
    job_id: str = ""
    name: str = ""
    model: str = ""
    missing: str = ""


class Cell(Struct, kw_only=True, frozen=True):
    """A run's part of a row. ``html``: the response with what differs from the baseline's, if that is shown."""

    outcome: str
    repeats: str
    text: str
    href: str
    html: Markup | None = None


class Row(Struct, kw_only=True, frozen=True):
    """A sample. ``href`` is its page with all runs side by side. ``cells`` has None for runs without it."""

    id: str
    href: str
    changes: Sequence[str]
    other_content: bool
    input: str
    expected: str
    cells: Sequence[Cell | None]


def columns_of(runs: Sequence[Run], samples: ChangedSamples | None) -> list[Run]:
    """The runs with samples, the baseline first."""
    if samples is None:
        return []
    known = {each.job_id: each for each in runs}
    return [
        known[samples.baseline.job_id],
        *(known[c.job_id] for c in samples.candidates if not c.no_samples),
    ]


def decoded(row: ChangedSample) -> ChangedSample:
    """A row whose samples, which the API encodes as they are, are decoded."""
    return replace(
        row, baseline=_sample(row.baseline), candidates=tuple(_sample(each) for each in row.candidates)
    )


def _sample(run: RunSample | None) -> RunSample | None:
    if run is None:
        return None
    line = cast("msgspec.Raw", run.sample)
    return replace(run, sample=msgspec.json.decode(line, type=Sample))


def rows_of(samples: ChangedSamples, prefix: str, url: Callable[[str], str], *, diff: bool) -> list[Row]:
    """The rows. ``url`` returns the address of a sample in all runs. ``diff``: short responses show what differs from the baseline's."""
    runs = [samples.baseline, *(each for each in samples.candidates if not each.no_samples)]
    rows: list[Row] = []
    for item in samples.items:
        sides = [item.baseline, *item.candidates]
        known = next(each.sample for each in sides if each is not None)
        base = item.baseline.sample if item.baseline is not None else None
        cells = [
            None
            if side is None
            else _cell(
                side,
                _href(prefix, run.source, run.benchmark_index, item.sample_id),
                base,
                diff=diff and position > 0,
            )
            for position, (run, side) in enumerate(zip(runs, sides, strict=True))
        ]
        rows.append(
            Row(
                id=item.sample_id,
                href=url(item.sample_id),
                changes=[each or "" for each in item.changes],
                other_content=item.other_content,
                input=plain_cell(known.input),
                expected=plain_cell(known.target),
                cells=cells,
            )
        )
    return rows


def _cell(side: RunSample, href: str, base: Sample | None, *, diff: bool) -> Cell:
    sample = side.sample
    text = sample.error if sample.outcome == "error" and sample.error else plain_cell(sample.output)
    html = None
    if diff and base is not None:
        before = plain_cell(base.output)
        if text and before and text != before and max(len(text), len(before)) <= MAX_DIFF_CHARACTERS:
            html = _changed_words(before, text)
    repeats = f"{side.passed}/{side.epochs} passed" if side.epochs > 1 else ""
    return Cell(outcome=sample.outcome, repeats=repeats, text=text, href=href, html=html)


@lru_cache(512)
def _changed_words(before: str, after: str) -> Markup:
    """The difference of two short texts; of a list that is shown again, rarely a new one."""
    return diff_html(text_diff(before, after, limit=MAX_DIFF_CHARACTERS))


def _href(prefix: str, job_id: str, index: int, sample_id: str) -> str:
    return with_query(f"{prefix}/ui/jobs/{job_id}/b/{index}/sample", {"id": [sample_id]})


def table_of(samples: ChangedSamples | None, runs: Sequence[Run]) -> Table:
    """The rows for other formats than HTML."""
    columns = columns_of(runs, samples)
    names = [f"{name}_{each.letter}" for each in columns for name in ("outcome", "score", "response")]
    changes = [f"change_{each.letter}" for each in columns[1:]]
    rows: list[Sequence[Any]] = []
    for item in samples.items if samples is not None else ():
        sides = [item.baseline, *item.candidates]
        known = next(each.sample for each in sides if each is not None)
        parts: list[Any] = []
        for side in sides:
            if side is None:
                parts += ["", None, ""]
            else:
                parts += [side.sample.outcome, side.score, plain_cell(side.sample.output)]
        rows.append(
            (item.sample_id, *item.changes, plain_cell(known.input), plain_cell(known.target), *parts)
        )
    return Table(columns=("sample_id", *changes, "input", "expected", *names), rows=rows)
