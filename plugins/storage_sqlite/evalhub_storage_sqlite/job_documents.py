"""A job as rows: encoding, decoding, and finding out what an update has to write.

What changed is found by ``is``: records are frozen and share what did not change.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.domain.record import (
    BenchmarkRecord,
    JobPlan,
    JobRecord,
    TrackedExperiment,
)
from evalhub_server.errors import StorageError
from evalhub_server.models.common import Message, State
from evalhub_server.models.job import JobRequest, JobTest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Head(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The job's own fields that change and have no column."""

    updated_at: datetime
    message: Message
    test: JobTest | None = None
    cancelled: bool = False
    experiment: TrackedExperiment | None = None


class Definition(Struct, kw_only=True, frozen=True):
    """What the job was made with; hardly ever changes."""

    request: JobRequest
    plan: JobPlan


class Columns(Struct, kw_only=True, frozen=True):
    """What lists filter by and an update may change."""

    state: str
    experiment_id: str
    is_open: bool


class JobRows(Struct, kw_only=True, frozen=True):
    """A job as it comes from the database, not yet decoded. ``benchmarks`` are in the order of their index."""

    seq: int
    id: str
    tenant: str
    owner: str
    state: str
    created_at: int
    head: bytes
    definition: bytes
    benchmarks: list[bytes]


class Changes(Struct, kw_only=True):
    """Rows of one job that are to be written, encoded; None and missing indices stay as they are.

    ``size`` is set when there are fewer benchmarks than before: rows from that index on go.
    """

    columns: Columns | None = None
    head: bytes | None = None
    definition: bytes | None = None
    benchmarks: dict[int, bytes] = msgspec.field(default_factory=dict[int, bytes])
    size: int | None = None

    def add(self, later: Changes) -> None:
        """Take in what a later update of the same job writes."""
        self.columns = later.columns or self.columns
        self.head = later.head or self.head
        self.definition = later.definition or self.definition
        if later.size is not None:
            self.size = later.size
            self.benchmarks = {i: doc for i, doc in self.benchmarks.items() if i < later.size}
        self.benchmarks.update(later.benchmarks)


_to_json = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(Head).decode
_decode_definition = msgspec.json.Decoder(Definition).decode
_decode_benchmark = msgspec.json.Decoder(BenchmarkRecord).decode


def _encode(document: Struct, decode: Callable[[bytes], object]) -> bytes:
    # What is written can be read back: msgspec writes an infinite number as null, which is no number any more, and
    # a job that cannot be decoded would spoil every list that it is in.
    doc = _to_json(document)
    decode(doc)
    return doc


def changes(before: JobRecord | None, after: JobRecord) -> Changes:
    """Encode what is different; everything if there is no ``before``.

    Raises:
        StorageError: the change gave the job another id, tenant, owner or creation time.
        StorageError: something in the record cannot be written as JSON or text, or read back.
    """
    if before is not None and before.id != after.id:
        raise StorageError(f"Job {before.id} cannot become job {after.id}: a change must keep the id.")
    if before is not None and _identity(before) != _identity(after):
        raise StorageError(f"Job {before.id}: a change must keep tenant, owner and creation time.")
    try:
        if before is None:
            _check_text(after)
        return _changes(before, after)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise StorageError(
            f"Job {after.id} cannot be stored, since a part of it cannot be written: {error}. "
            f"Correct what was sent."
        ) from error


def _identity(record: JobRecord) -> tuple[object, ...]:
    return record.tenant, record.owner, record.created_at


def _check_text(record: JobRecord) -> None:
    # Text and time that go into columns: raise for this job alone, before they are in a batch with others.
    "".join((record.id, record.tenant, record.owner)).encode()
    microseconds(record.created_at)


def _changes(before: JobRecord | None, after: JobRecord) -> Changes:
    found = Changes()
    columns = columns_of(after)
    if before is None or columns != columns_of(before):
        found.columns = columns
    if before is None or any(
        getattr(before, name) is not getattr(after, name) for name in Head.__struct_fields__
    ):
        found.head = _encode(
            Head(
                updated_at=after.updated_at,
                message=after.message,
                test=after.test,
                cancelled=after.cancelled,
                experiment=after.experiment,
            ),
            _decode_head,
        )
    if before is None or before.request is not after.request or before.plan is not after.plan:
        found.definition = _encode(Definition(request=after.request, plan=after.plan), _decode_definition)
    old: tuple[Any, ...] = () if before is None else before.benchmarks
    new = after.benchmarks
    if old is not new:
        for index, benchmark in enumerate(new):
            if index >= len(old) or old[index] is not benchmark:
                found.benchmarks[index] = _encode(benchmark, _decode_benchmark)
        if len(new) < len(old):
            found.size = len(new)
    return found


def columns_of(record: JobRecord) -> Columns:
    return Columns(
        state=record.state.value,
        experiment_id=record.experiment.id if record.experiment else "",
        is_open=record.open,
    )


def microseconds(moment: datetime) -> int:
    """Return the time since 1970 in UTC, as ``created_at`` is stored: exact, and integers sort as times do."""
    return (moment - _EPOCH) // _MICROSECOND


def decode(rows: JobRows) -> JobRecord:
    """Make the record again.

    Raises:
        StorageError: a document does not have the shape that this version writes.
    """
    try:
        head = _decode_head(rows.head)
        definition = _decode_definition(rows.definition)
        return JobRecord(
            id=rows.id,
            tenant=rows.tenant,
            owner=rows.owner,
            created_at=_EPOCH + rows.created_at * _MICROSECOND,
            updated_at=head.updated_at,
            request=definition.request,
            plan=definition.plan,
            state=State(rows.state),
            message=head.message,
            test=head.test,
            cancelled=head.cancelled,
            experiment=head.experiment,
            benchmarks=tuple([_decode_benchmark(doc) for doc in rows.benchmarks]),
        )
    except ValueError as error:  # msgspec's errors and an unknown state
        raise StorageError(
            f"Job {rows.id} cannot be read back: {error}. Delete the job, or restore the database from a backup."
        ) from error
