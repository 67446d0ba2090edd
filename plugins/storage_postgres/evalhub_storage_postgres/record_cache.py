"""Cache of job records, each with the version of its row: a change of a large job need not read all of its benchmarks."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from evalhub_server.plugins import JobRecord

MAX_BENCHMARKS = 20_000
MAX_FINISHED_BENCHMARKS = 2_000
"""Of terminal jobs, which hardly change; a benchmark takes about 3 KiB."""


class Versioned(Struct, frozen=True):
    """A record as of ``version``: the transaction that wrote the row of the job (``xmin``), which every write changes."""

    version: str
    record: JobRecord


class _Recent:
    """The entries used last, up to a number of benchmarks, but at least one."""

    def __init__(self, max_benchmarks: int) -> None:
        self._max_benchmarks = max_benchmarks
        self._entries: OrderedDict[str, Versioned] = OrderedDict()
        self._benchmarks = 0

    def get(self, job_id: str) -> Versioned | None:
        found = self._entries.get(job_id)
        if found is not None:
            self._entries.move_to_end(job_id)
        return found

    def add(self, job_id: str, entry: Versioned) -> None:
        self._entries[job_id] = entry
        self._benchmarks += len(entry.record.benchmarks)
        while self._benchmarks > self._max_benchmarks and len(self._entries) > 1:
            self.drop(next(iter(self._entries)))

    def drop(self, job_id: str) -> None:
        entry = self._entries.pop(job_id, None)
        if entry is not None:
            self._benchmarks -= len(entry.record.benchmarks)


class RecordCache:
    """The records used last, up to :data:`MAX_BENCHMARKS` benchmarks, and :data:`MAX_FINISHED_BENCHMARKS` of terminal jobs.

    An entry may be out of date at any time; it is used only if the row still has its version.
    """

    def __init__(self) -> None:
        self._open = _Recent(MAX_BENCHMARKS)
        self._finished = _Recent(MAX_FINISHED_BENCHMARKS)

    def get(self, job_id: str) -> Versioned | None:
        return self._open.get(job_id) or self._finished.get(job_id)

    def put(self, job_id: str, entry: Versioned) -> None:
        self.drop(job_id)
        recent = self._finished if entry.record.state.terminal else self._open
        recent.add(job_id, entry)

    def drop(self, job_id: str) -> None:
        self._open.drop(job_id)
        self._finished.drop(job_id)
