"""What the event loop keeps of the database: records by id, and answers to lists.

Both hold committed data only. Nothing here waits, so each method is one step of the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager

from msgspec import Struct

from evalhub_server.domain.record import JobRecord
from evalhub_server.plugins import JobQuery


class Stored(Struct, kw_only=True, frozen=True):
    """A committed record and the key of its rows."""

    seq: int
    record: JobRecord


Touched = set[str]
"""Ids of the jobs that were written while a read was under way."""


class RecordCache:
    """The jobs used last, at most ``max_jobs`` of them and ``max_benchmarks`` benchmarks of theirs.

    A read takes time: what it brings may be older than what a commit has left here since. So a read runs within
    :meth:`reading` and fills in only jobs that no commit touched meanwhile; otherwise the next update would be
    based on the old record and undo that commit.
    """

    def __init__(self, max_jobs: int, max_benchmarks: int = 32_768) -> None:
        self._max_jobs = max_jobs
        self._max_benchmarks = max_benchmarks
        self._benchmarks = 0
        self._jobs: OrderedDict[str, Stored] = OrderedDict()
        self._reads: list[Touched] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, job_id: str) -> Stored | None:
        stored = self._jobs.get(job_id)
        if stored is not None:
            self._jobs.move_to_end(job_id)
        return stored

    def publish(self, job_id: str, stored: Stored | None) -> None:
        """Take in what a commit left of the job; None: it is gone, or nobody knows."""
        for touched in self._reads:
            touched.add(job_id)
        self._put(job_id, stored)

    @contextmanager
    def reading(self) -> Generator[Touched]:
        """Watch for commits during a read; pass what it yields to :meth:`fill`."""
        touched: Touched = set()
        self._reads.append(touched)
        try:
            yield touched
        finally:
            # By identity: sets that are equal are not the same read.
            self._reads = [other for other in self._reads if other is not touched]

    def fill(self, touched: Touched, job_id: str, read: Stored) -> Stored:
        """Keep what a read brought unless something newer is known; return what to show to the reader."""
        known = self.get(job_id)
        if known is not None:
            return known
        if job_id not in touched:
            self._put(job_id, read)
        return read

    def _put(self, job_id: str, stored: Stored | None) -> None:
        old = self._jobs.pop(job_id, None)
        if old is not None:
            self._benchmarks -= len(old.record.benchmarks)
        if stored is None:
            return
        self._jobs[job_id] = stored
        self._benchmarks += len(stored.record.benchmarks)
        while len(self._jobs) > 1 and (
            len(self._jobs) > self._max_jobs or self._benchmarks > self._max_benchmarks
        ):
            _, dropped = self._jobs.popitem(last=False)
            self._benchmarks -= len(dropped.record.benchmarks)


class Listing(Struct, kw_only=True, frozen=True):
    """The answer to a query: ids of the page, in order, and how many jobs match."""

    ids: tuple[str, ...]
    total_count: int


class ListingCache:
    """Answers to the lists asked last. A commit that changes what lists filter or sort by empties it."""

    def __init__(self, max_listings: int = 64) -> None:
        self._max_listings = max_listings
        self._listings: OrderedDict[JobQuery, Listing] = OrderedDict()
        self.version = 0

    def get(self, query: JobQuery) -> Listing | None:
        listing = self._listings.get(query)
        if listing is not None:
            self._listings.move_to_end(query)
        return listing

    def fill(self, version: int, query: JobQuery, listing: Listing) -> None:
        """Keep an answer that was read while ``version`` was current; it is of no use if that has changed."""
        if version != self.version:
            return
        self._listings[query] = listing
        if len(self._listings) > self._max_listings:
            self._listings.popitem(last=False)

    def clear(self) -> None:
        self.version += 1
        self._listings.clear()
