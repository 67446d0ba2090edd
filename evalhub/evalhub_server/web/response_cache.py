"""A cache of encoded resources, keyed by the identity of their frozen records."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from operator import is_
from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.domain.entity_tags import Tagged, tagged
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource
from evalhub_server.models.provider import Runnable

_encoder = msgspec.json.Encoder()
CAPACITY = 256
LIMIT_BYTES = 8 * 2**20

Parts = tuple[JobRecord | AnyResource | Runnable | None, ...]


class _Entry(Struct):
    parts: Parts
    body: bytes
    tagged: Tagged | None = None


class RecordEncoder:
    """Encodes records as JSON and caches the most recently used. Records are frozen: the same objects give the same bytes.

    ``view`` converts a record, and ``others`` that it includes, into a resource. The cache holds at most ``capacity``
    entries of at most ``limit_bytes`` in total; the records in them stay in memory, too.
    """

    def __init__(
        self, view: Callable[..., Any], capacity: int = CAPACITY, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self._view = view
        self._capacity = capacity
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._cache: OrderedDict[str, _Entry] = OrderedDict()

    def __call__(self, record: JobRecord | AnyResource, *others: AnyResource | Runnable | None) -> bytes:
        return self._entry(record, *others).body

    def tagged(self, record: JobRecord | AnyResource, *others: AnyResource | Runnable | None) -> Tagged:
        """The JSON with the tag of a body that no client edits; the digest is computed once."""
        entry = self._entry(record, *others)
        if entry.tagged is None:
            entry.tagged = tagged(entry.body)
        return entry.tagged

    def _entry(self, record: JobRecord | AnyResource, *others: AnyResource | Runnable | None) -> _Entry:
        cached = self._cache.get(record.id)
        parts = (record, *others)
        if cached is not None and _same(cached.parts, parts):
            self._cache.move_to_end(record.id)
            return cached
        entry = _Entry(parts, _encoder.encode(self._view(*parts)))
        if cached is not None:
            self._bytes -= len(cached.body)
        self._cache[record.id] = entry
        self._cache.move_to_end(record.id)
        self._bytes += len(entry.body)
        while len(self._cache) > self._capacity or self._bytes > self._limit_bytes:
            _, dropped = self._cache.popitem(last=False)
            self._bytes -= len(dropped.body)
        return entry


def _same(cached: Parts, parts: Parts) -> bool:
    return len(cached) == len(parts) and all(map(is_, cached, parts))
