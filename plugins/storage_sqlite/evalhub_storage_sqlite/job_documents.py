"""A job as documents: encoding, decoding, and finding out what an update has to write.

What changed is found by ``is``: records are frozen and share what did not change.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    BenchmarkRecord,
    JobDefinition,
    JobProgress,
    JobRecord,
    decoding,
    encode,
)
from evalhub_storage_sqlite.columns import check_columns, microseconds
from evalhub_storage_sqlite.connection import Row
from evalhub_storage_sqlite.record_mapper import Rows


class Columns(Struct, kw_only=True, frozen=True):
    """What lists filter by and an update may change."""

    state: str
    experiment_id: str
    is_open: bool


class JobRows(Rows[JobRecord], kw_only=True, frozen=True):
    """``benchmarks`` are in the order of their index."""

    progress: bytes
    definition: bytes
    benchmarks: list[bytes]

    @property
    def size_bytes(self) -> int:
        return len(self.progress) + len(self.definition) + sum(map(len, self.benchmarks))

    def decode(self) -> JobRecord:
        with decoding("job", self.id):
            return JobRecord(
                definition=_decode_definition(self.definition),
                progress=_decode_progress(self.progress),
                benchmarks=tuple([_decode_benchmark(doc) for doc in self.benchmarks]),
            )


class Changes(Struct, kw_only=True):
    """Rows of one job that are to be written, encoded; None and missing indices stay as they are.

    ``size`` is set when there are fewer benchmarks than before: rows from that index on go.
    """

    columns: Columns | None = None
    progress: bytes | None = None
    definition: bytes | None = None
    benchmarks: dict[int, bytes] = msgspec.field(default_factory=dict[int, bytes])
    size: int | None = None

    @property
    def size_bytes(self) -> int:
        return (
            len(self.progress or b"") + len(self.definition or b"") + sum(map(len, self.benchmarks.values()))
        )

    def add(self, later: Changes) -> None:
        """Take in what a later update of the same job writes."""
        self.columns = later.columns or self.columns
        self.progress = later.progress or self.progress
        self.definition = later.definition or self.definition
        if later.size is not None:
            self.size = later.size
            self.benchmarks = {i: doc for i, doc in self.benchmarks.items() if i < later.size}
        self.benchmarks.update(later.benchmarks)


_decode_progress = msgspec.json.Decoder(JobProgress).decode
_decode_definition = msgspec.json.Decoder(JobDefinition).decode
_decode_benchmark = msgspec.json.Decoder(BenchmarkRecord).decode


def changes(before: JobRecord | None, after: JobRecord) -> Changes:
    """Encode what is different; everything if there is no ``before``. Raises what encoding raises."""
    found = Changes()
    columns = columns_of(after)
    if before is None:
        check_columns(identity(after))
    if before is None or columns != columns_of(before):
        found.columns = columns
    if before is None or before.progress is not after.progress:
        found.progress = encode(after.progress, _decode_progress)
    if before is None or before.definition is not after.definition:
        found.definition = encode(after.definition, _decode_definition)
    old: tuple[Any, ...] = () if before is None else before.benchmarks
    new = after.benchmarks
    if old is not new:
        for index, benchmark in enumerate(new):
            if index >= len(old) or old[index] is not benchmark:
                found.benchmarks[index] = encode(benchmark, _decode_benchmark)
        if len(new) < len(old):
            found.size = len(new)
    return found


def columns_of(record: JobRecord) -> Columns:
    return Columns(
        state=record.state.value,
        experiment_id=record.experiment.id if record.experiment else "",
        is_open=record.open,
    )


def identity(record: JobRecord) -> Row:
    """Return the columns that stay as they are for as long as the job is stored."""
    return record.id, record.tenant, record.owner, microseconds(record.created_at)
