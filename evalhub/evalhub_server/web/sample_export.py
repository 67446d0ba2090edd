"""Samples as JSON lines, and as rows of CSV and Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from evalhub_server.domain.sample_query import Rows
from evalhub_server.domain.table_formats import csv_line, spreadsheet_text
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.web.file_response import joined
from evalhub_server.web.parquet import Kind, parquet_file

TEXTS = ("input", "output", "target", "answer", "explanation")


def jsonl_chunks(samples: SampleFile, rows: Rows) -> Iterator[bytes]:
    return joined(line + b"\n" for line in samples.lines(rows))


def csv_chunks(samples: SampleFile, rows: Rows) -> Iterator[bytes]:
    """CSV with one row for each sample. Texts that a spreadsheet would take for formulas get a leading apostrophe."""

    def table() -> Iterator[list[object]]:
        yield [*_columns(samples)]
        yield from _values(samples, rows)

    return joined(
        csv_line(spreadsheet_text(cell) if isinstance(cell, str) else cell for cell in row) for row in table()
    )


def parquet_samples(samples: SampleFile, rows: Rows) -> Any:
    """A Parquet file with the columns of the CSV; see :func:`parquet_file`."""
    return parquet_file(_columns(samples), _values(samples, rows))


def _columns(samples: SampleFile) -> dict[str, Kind]:
    columns: dict[str, Kind] = {"sample_id": "text", "epoch": "integer", "outcome": "text", "group": "text"}
    columns.update((f"metrics.{name}", "number") for name in samples.index.metrics)
    columns["latency_s"] = "number"
    columns.update((name, "text") for name in ("error", "error_kind", *TEXTS, "key_hash"))
    return columns


def _values(samples: SampleFile, rows: Rows) -> Iterator[list[object]]:
    for line in samples.lines(rows):
        sample = cast("dict[str, Any]", msgspec.json.decode(line))
        given = cast("dict[str, Any]", sample.get("metrics") or {})
        yield [
            *(sample.get(name) for name in ("sample_id", "epoch", "outcome", "group")),
            *(None if given.get(name) is None else float(given[name]) for name in samples.index.metrics),
            *(sample.get(name) for name in ("latency_s", "error", "error_kind")),
            *(_text(sample.get(name)) for name in TEXTS),
            sample["key_hash"],
        ]


def _text(value: object) -> str | None:
    return value if isinstance(value, str | None) else msgspec.json.encode(value).decode()
