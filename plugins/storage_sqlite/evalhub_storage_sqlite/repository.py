"""Repository: the records of one kind, read from the caches or else from the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from evalhub_server.plugins import NotFound
from evalhub_storage_sqlite import select
from evalhub_storage_sqlite.cache import ListingCache, RecordCache
from evalhub_storage_sqlite.connection import Connection, read
from evalhub_storage_sqlite.faults import UNUSABLE, storage_error
from evalhub_storage_sqlite.record_mapper import R, RecordMapper, Stored
from evalhub_storage_sqlite.sql_builder import ListQuery

P = ParamSpec("P")
T = TypeVar("T")


class Repository(Generic[R]):
    """Reads with ``connection``. ``records`` and ``listings`` cache what is committed; the writer updates them."""

    def __init__(
        self, mapper: RecordMapper[R, Any], connection: Connection, description: str, max_records: int
    ) -> None:
        self.mapper = mapper
        self.records = RecordCache(max_records, mapper.weight, finished=mapper.finished)
        self.listings = ListingCache()
        self._connection = connection
        self._description = description

    async def get(self, record_id: str, tenant: str | None) -> R:
        """Raises :class:`NotFound`."""
        stored = self.records.get(record_id)
        if stored is None:
            operation = f"Reading {self.mapper.kind} {record_id}"
            stored = (await self._load([record_id], operation)).get(record_id)
        if stored is None or not self.mapper.visible(stored.record, tenant):
            raise NotFound(f"There is no {self.mapper.kind} {record_id}.")
        return stored.record

    async def get_all(self, ids: Sequence[str], operation: str) -> list[R]:
        """Return the records in this order, without those that were deleted meanwhile."""
        known = {record_id: self.records.get(record_id) for record_id in ids}
        missing = [record_id for record_id, stored in known.items() if stored is None]
        if missing:
            known |= await self._load(missing, operation)
        return [stored.record for stored in known.values() if stored is not None]

    async def page(self, key: Hashable, sql: Callable[[], ListQuery | None]) -> tuple[list[R], int]:
        """Return a page and the total count. A record may be newer than the list of ids."""
        operation = f"Listing {self.mapper.kind}s"
        listing = self.listings.get(key)
        if listing is None:
            query = sql()
            if query is None:
                return [], 0
            version = self.listings.version
            listing = await self.read(operation, select.listing, query)
            self.listings.fill(version, key, listing)
        return await self.get_all(listing.ids, operation), listing.total_count

    async def snapshot(self, key: Hashable, sql: Callable[[], ListQuery | None]) -> tuple[list[R], int]:
        """Return a page and the total count from one snapshot: a commit shows in all of the page or not at all."""
        listing = None if self.listings.held else self.listings.get(key)
        if listing is not None:
            known = [stored.record for each in listing.ids if (stored := self.records.get(each))]
            if len(known) == len(listing.ids):
                return known, listing.total_count
        query = sql()
        if query is None:
            return [], 0
        version = self.listings.version
        with self.records.reading() as touched:
            listing, found = await self.read(f"Listing {self.mapper.kind}s", select.page, self.mapper, query)
            self.listings.fill(version, key, listing)
            return [self._same(touched, each, found[each]) for each in listing.ids], listing.total_count

    def _same(self, touched: set[str], record_id: str, stored: Stored[R]) -> R:
        # Prefer the cached object if it is equal: responses are cached by identity.
        known = self.records.fill(touched, record_id, stored).record
        return known if known == stored.record else stored.record

    async def _load(self, ids: Sequence[str], operation: str) -> dict[str, Stored[R]]:
        with self.records.reading() as touched:
            found = await self.read(operation, select.records_by_id, self.mapper, ids)
            return {each: self.records.fill(touched, each, stored) for each, stored in found.items()}

    async def read(
        self,
        operation: str,
        query: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``query`` as one read transaction. Raises :class:`StorageError`; ``operation`` begins its message."""
        try:
            return await self._connection.call(read, query, *args, **kwargs)
        except UNUSABLE as error:
            raise storage_error(operation, self._description, error) from error
