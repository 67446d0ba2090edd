"""Caches of committed records, by id, and of lists, by query.

Nothing here waits, so each method is one step of the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from typing import Generic

from msgspec import Struct

from evalhub_storage_sqlite.record_mapper import R, Stored

Touched = set[str]
"""Ids of the records that were written while a read was under way."""


class _Recent(Generic[R]):
    """The most recently used records up to three limits, but at least one."""

    def __init__(
        self, weigh: Callable[[R], int], max_records: int, max_benchmarks: int, max_bytes: int
    ) -> None:
        self._weigh = weigh
        self._max_records = max_records
        self._max_benchmarks = max_benchmarks
        self._max_bytes = max_bytes
        self._benchmarks = 0
        self._bytes = 0
        self._records: OrderedDict[str, Stored[R]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def get(self, record_id: str) -> Stored[R] | None:
        stored = self._records.get(record_id)
        if stored is not None:
            self._records.move_to_end(record_id)
        return stored

    def remove(self, record_id: str) -> None:
        stored = self._records.pop(record_id, None)
        if stored is not None:
            self._count(stored, -1)

    def add(self, record_id: str, stored: Stored[R]) -> None:
        self._records[record_id] = stored
        self._count(stored, 1)
        while len(self._records) > 1 and (
            len(self._records) > self._max_records
            or self._benchmarks > self._max_benchmarks
            or self._bytes > self._max_bytes
        ):
            self.remove(next(iter(self._records)))

    def _count(self, stored: Stored[R], sign: int) -> None:
        self._benchmarks += sign * self._weigh(stored.record)
        self._bytes += sign * stored.size_bytes


class RecordCache(Generic[R]):
    """The most recently used records: at most ``max_records``, ``max_benchmarks`` of theirs, ``max_bytes`` of documents.

    In memory a record takes four times the size of its documents, which adapters and clients control. ``weigh``
    returns the number of benchmarks of a record. Those that are ``finished`` hardly change, and have a smaller limit,
    ``max_finished_bytes``.

    A read takes time: its result may be older than what a commit has published since. So a read runs within
    :meth:`reading` and fills in only records that no commit touched meanwhile; otherwise the next update would be based
    on the old record and undo that commit.
    """

    def __init__(
        self,
        max_records: int,
        weigh: Callable[[R], int],
        max_benchmarks: int = 32_768,
        max_bytes: int = 64 * 2**20,
        *,
        finished: Callable[[R], bool] = lambda _: False,
        max_finished_bytes: int = 2**20,
    ) -> None:
        self._finished = finished
        self._open = _Recent(weigh, max_records, max_benchmarks, max_bytes)
        self._ended = _Recent(weigh, max_records, max_benchmarks, max_finished_bytes)
        self._reads: list[Touched] = []

    def __len__(self) -> int:
        return len(self._open) + len(self._ended)

    def get(self, record_id: str) -> Stored[R] | None:
        return self._open.get(record_id) or self._ended.get(record_id)

    def publish(self, record_id: str, stored: Stored[R] | None) -> None:
        """Store the committed record; None: it is deleted, or its state is unknown."""
        for touched in self._reads:
            touched.add(record_id)
        self._put(record_id, stored)

    @contextmanager
    def reading(self) -> Generator[Touched]:
        """Record the commits during a read; pass the yielded set to :meth:`fill`."""
        touched: Touched = set()
        self._reads.append(touched)
        try:
            yield touched
        finally:
            # By identity: equal sets may belong to different reads.
            self._reads = [other for other in self._reads if other is not touched]

    def fill(self, touched: Touched, record_id: str, read: Stored[R]) -> Stored[R]:
        """Store a record that was read unless a newer one is known; return the record to use."""
        known = self.get(record_id)
        if known is not None:
            return known
        if record_id not in touched:
            self._put(record_id, read)
        return read

    def _put(self, record_id: str, stored: Stored[R] | None) -> None:
        self._open.remove(record_id)
        self._ended.remove(record_id)
        if stored is not None:
            records = self._ended if self._finished(stored.record) else self._open
            records.add(record_id, stored)


class Listing(Struct, kw_only=True, frozen=True):
    """The result of a query: the ids of the page, in order, and how many records match."""

    ids: tuple[str, ...]
    total_count: int


class ListingCache:
    """The results of the most recent queries. A commit that changes what lists filter or sort by empties it.

    From :meth:`hold` to :meth:`clear` such a commit is under way. A read may then see its effect before its records are
    published, so no result is stored.
    """

    def __init__(self, max_listings: int = 64) -> None:
        self._max_listings = max_listings
        self._listings: OrderedDict[Hashable, Listing] = OrderedDict()
        self.version = 0
        self.held = False

    def get(self, query: Hashable) -> Listing | None:
        listing = self._listings.get(query)
        if listing is not None:
            self._listings.move_to_end(query)
        return listing

    def fill(self, version: int, query: Hashable, listing: Listing) -> None:
        """Store a result that was read while ``version`` was current; ignored if that has changed."""
        if version != self.version or self.held:
            return
        self._listings[query] = listing
        if len(self._listings) > self._max_listings:
            self._listings.popitem(last=False)

    def hold(self) -> None:
        self.held = True

    def clear(self) -> None:
        self.held = False
        self.version += 1
        self._listings.clear()
