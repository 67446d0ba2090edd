"""A job as documents: encoding, decoding, and finding out what an update has to write.

What changed is found by ``is``: records are frozen and share what did not change.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    BenchmarkRecord,
    ExportRecord,
    JobDefinition,
    JobRecord,
    JobTest,
    Message,
    State,
    TrackedExperiment,
    decoding,
    encode,
)
from evalhub_storage_sqlite.columns import check_columns, microseconds, moment
from evalhub_storage_sqlite.connection import Row
from evalhub_storage_sqlite.record_mapper import Rows


class Head(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The job's own fields that change and have no column."""

    updated_at: datetime
    message: Message
    test: JobTest | None = None
    cancelled: bool = False
    experiment: TrackedExperiment | None = None
    exports: tuple[ExportRecord, ...] = ()


class Columns(Struct, kw_only=True, frozen=True):
    """What lists filter by and an update may change."""

    state: str
    experiment_id: str
    is_open: bool


class JobRows(Rows[JobRecord], kw_only=True, frozen=True):
    """``benchmarks`` are in the order of their index."""

    state: str
    head: bytes
    definition: bytes
    benchmarks: list[bytes]

    @property
    def size_bytes(self) -> int:
        return len(self.head) + len(self.definition) + sum(map(len, self.benchmarks))

    def decode(self) -> JobRecord:
        with decoding("job", self.id):
            head = _decode_head(self.head)
            definition = _decode_definition(self.definition)
            return JobRecord(
                id=self.id,
                tenant=self.tenant,
                owner=self.owner,
                created_at=moment(self.created_at),
                updated_at=head.updated_at,
                request=definition.request,
                plan=definition.plan,
                state=State(self.state),
                message=head.message,
                test=head.test,
                cancelled=head.cancelled,
                experiment=head.experiment,
                exports=head.exports,
                benchmarks=tuple([_decode_benchmark(doc) for doc in self.benchmarks]),
            )


class Changes(Struct, kw_only=True):
    """Rows of one job that are to be written, encoded; None and missing indices stay as they are.

    ``size`` is set when there are fewer benchmarks than before: rows from that index on go.
    """

    columns: Columns | None = None
    head: bytes | None = None
    definition: bytes | None = None
    benchmarks: dict[int, bytes] = msgspec.field(default_factory=dict[int, bytes])
    size: int | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.head or b"") + len(self.definition or b"") + sum(map(len, self.benchmarks.values()))

    def add(self, later: Changes) -> None:
        """Take in what a later update of the same job writes."""
        self.columns = later.columns or self.columns
        self.head = later.head or self.head
        self.definition = later.definition or self.definition
        if later.size is not None:
            self.size = later.size
            self.benchmarks = {i: doc for i, doc in self.benchmarks.items() if i < later.size}
        self.benchmarks.update(later.benchmarks)


_decode_head = msgspec.json.Decoder(Head).decode
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
    if before is None or any(
        getattr(before, name) is not getattr(after, name) for name in Head.__struct_fields__
    ):
        found.head = encode(
            Head(
                updated_at=after.updated_at,
                message=after.message,
                test=after.test,
                cancelled=after.cancelled,
                experiment=after.experiment,
                exports=after.exports,
            ),
            _decode_head,
        )
    if before is None or before.request is not after.request or before.plan is not after.plan:
        found.definition = encode(JobDefinition(request=after.request, plan=after.plan), _decode_definition)
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
