"""Tables as Parquet files, with the extra ``parquet``."""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from evalhub_server.domain.table_formats import plain_cell
from evalhub_server.errors import ApiError

PARQUET = "application/vnd.apache.parquet"
ROW_GROUP = 1000
"""Rows in memory while a file is written."""

Kind = Literal["text", "number", "integer"]


def parquet_missing() -> ApiError:
    text = "Parquet needs pyarrow on the server: pip install 'eval-hub-server[parquet]'. JSON lines and CSV need nothing."
    return ApiError(501, "parquet_not_installed", text)


def parquet_file(columns: Mapping[str, Kind], rows: Iterable[Sequence[Any]]) -> Any:
    """Write a Parquet file; returns it, open and rewound. Blocks.

    ``columns`` are names and kinds, in the order of the values of a row. Raises :class:`ApiError` (501) without pyarrow.
    """
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise parquet_missing() from None
    types = {"text": arrow.string(), "number": arrow.float64(), "integer": arrow.int32()}
    schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()])
    file = tempfile.TemporaryFile()  # noqa: SIM115  the response closes it
    with parquet.ParquetWriter(file, schema) as writer:
        batch: list[Sequence[Any]] = []

        def write() -> None:
            arrays = [
                arrow.array([_cell(kind, row[at]) for row in batch], types[kind])
                for at, kind in enumerate(columns.values())
            ]
            writer.write_batch(arrow.record_batch(arrays, schema=schema))
            batch.clear()

        for row in rows:
            batch.append(row)
            if len(batch) == ROW_GROUP:
                write()
        if batch:
            write()
    file.seek(0)
    return file


def _cell(kind: Kind, value: Any) -> str | float | None:
    if value is None:
        return None
    if kind == "text":
        return re.sub("[\ud800-\udfff]", "?", plain_cell(value))
    return float(value) if kind == "number" else value
