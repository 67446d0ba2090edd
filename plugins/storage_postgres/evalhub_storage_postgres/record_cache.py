"""Cache of job records, each with the version of its row: a change of a large job need not read all of its benchmarks."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from evalhub_server.plugins import JobRecord

MAX_BENCHMARKS = 20_000


class Versioned(Struct, frozen=True):
    """A record as of ``version``: the transaction that wrote the row of the job (``xmin``), which every write changes."""

    version: str
    record: JobRecord


class RecordCache:
    """The records used last, up to :data:`MAX_BENCHMARKS` benchmarks.

    An entry may be out of date at any time; it is used only if the row still has its version.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Versioned] = OrderedDict()
        self._benchmarks = 0

    def get(self, job_id: str) -> Versioned | None:
        found = self._entries.get(job_id)
        if found is not None:
            self._entries.move_to_end(job_id)
        return found

    def put(self, job_id: str, entry: Versioned) -> None:
        self.drop(job_id)
        self._entries[job_id] = entry
        self._benchmarks += len(entry.record.benchmarks)
        while self._benchmarks > MAX_BENCHMARKS and len(self._entries) > 1:
            self.drop(next(iter(self._entries)))

    def drop(self, job_id: str) -> None:
        entry = self._entries.pop(job_id, None)
        if entry is not None:
            self._benchmarks -= len(entry.record.benchmarks)
