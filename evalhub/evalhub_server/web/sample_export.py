"""Samples as files: JSON lines, CSV and Parquet, streamed."""

from __future__ import annotations

import asyncio
import csv
import importlib
import io
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, cast
from urllib.parse import quote

import msgspec
from litestar.types import Receive, Scope, Send

from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.errors import ApiError
from evalhub_server.web.responses import Header

CHUNK_BYTES = 256 * 1024
ROW_GROUP = 1000
"""Samples in memory while a Parquet file is written."""

TEXTS = ("input", "output", "target", "answer", "explanation")
_FORMULA = re.compile(r"[=+\-@\t\r\n]")

SANDBOX: tuple[Header, ...] = (
    (b"content-security-policy", b"sandbox"),
    (b"cache-control", b"private, no-cache"),
)
"""For content of adapters and models: if a browser shows it after all, nothing in it may run."""


class FileResponse:
    """Streams chunks, which are produced in threads, as an attachment."""

    def __init__(
        self, chunks: Iterator[bytes], media_type: str, file_name: str, size_bytes: int | None = None
    ) -> None:
        self._chunks = chunks
        length = [] if size_bytes is None else [(b"content-length", b"%d" % size_bytes)]
        self._headers: list[Header] = [
            (b"content-type", media_type.encode()),
            (b"content-disposition", attachment(file_name)),
            *length,
            *SANDBOX,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Any = {"type": "http.response.start", "status": 200, "headers": self._headers}
        await send(start)
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        with closing(cast("Any", self._chunks)):
            while not is_head and (chunk := await asyncio.to_thread(next, self._chunks, None)):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def attachment(file_name: str) -> bytes:
    """The value of ``Content-Disposition``, with the name in ASCII and, RFC 8187, as it is."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", file_name)[-100:]
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}".encode()


def file_chunks(file: Any) -> Iterator[bytes]:
    """The content of an open file, which is closed at the end."""
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def jsonl_chunks(samples: SampleFile, rows: Iterable[int]) -> Iterator[bytes]:
    return _joined(line + b"\n" for line in samples.lines(rows))


def csv_chunks(samples: SampleFile, rows: Iterable[int]) -> Iterator[bytes]:
    """CSV with one row for each sample. Texts that a spreadsheet would take for formulas get a leading apostrophe."""
    metrics = list(samples.index.metrics)
    names = ("sample_id", "epoch", "outcome", "group", *(f"metrics.{name}" for name in metrics))
    header = (*names, "latency_s", "error", "error_kind", *TEXTS, "key_hash")
    return _joined(
        _csv_row(each)
        for each in _chain([_cells(header)], (_cells(_values(line, metrics)) for line in samples.lines(rows)))
    )


def _chain(first: list[list[object]], rest: Iterable[list[object]]) -> Iterator[list[object]]:
    yield from first
    yield from rest


def _values(line: bytes, metrics: list[str]) -> list[object]:
    sample = cast("dict[str, Any]", msgspec.json.decode(line))
    given = cast("dict[str, Any]", sample.get("metrics") or {})
    return [
        *(sample.get(name) for name in ("sample_id", "epoch", "outcome", "group")),
        *(None if given.get(name) is None else float(given[name]) for name in metrics),
        *(sample.get(name) for name in ("latency_s", "error", "error_kind")),
        *(_text(sample.get(name)) for name in TEXTS),
        sample["key_hash"],
    ]


def _text(value: object) -> str | None:
    return value if isinstance(value, str | None) else msgspec.json.encode(value).decode()


def _cells(values: Iterable[object]) -> list[object]:
    return ["'" + value if isinstance(value, str) and _FORMULA.match(value) else value for value in values]


def _csv_row(cells: list[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for piece in pieces:
        chunk += piece
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def parquet_missing() -> ApiError:
    text = "Parquet needs pyarrow on the server: pip install 'eval-hub-server[parquet]'. JSON lines and CSV need nothing."
    return ApiError(501, "parquet_not_installed", text)


def parquet_file(samples: SampleFile, rows: Iterable[int]) -> Any:
    """Write a Parquet file with the columns of the CSV; returns it, open and rewound. Blocks.

    Raises :class:`ApiError` (501) if pyarrow is not installed.
    """
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise parquet_missing() from None
    metrics = list(samples.index.metrics)
    text, number = arrow.string(), arrow.float64()
    schema = arrow.schema(
        [
            ("sample_id", text),
            ("epoch", arrow.int32()),
            ("outcome", text),
            ("group", text),
            *((f"metrics.{name}", number) for name in metrics),
            ("latency_s", number),
            *((name, text) for name in ("error", "error_kind", *TEXTS, "key_hash")),
        ]
    )
    file = tempfile.TemporaryFile()  # noqa: SIM115  the response closes it
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in _batches(_values(line, metrics) for line in samples.lines(rows)):
            columns = [
                arrow.array(
                    [_as_text(row[at]) if field.type == text else row[at] for row in batch], field.type
                )
                for at, field in enumerate(schema)
            ]
            writer.write_batch(arrow.record_batch(columns, schema=schema))
    file.seek(0)
    return file


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _batches(rows: Iterable[list[object]]) -> Iterator[list[list[object]]]:
    batch: list[list[object]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROW_GROUP:
            yield batch
            batch = []
    if batch:
        yield batch
