"""Resources as JSON, encoded once for as long as they stay what they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from operator import is_
from typing import Any

import msgspec

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource

_encoder = msgspec.json.Encoder()
CAPACITY = 1024
LIMIT_BYTES = 64 * 2**20

Parts = tuple[JobRecord | AnyResource, ...]


class RecordEncoder:
    """Remembers the bytes of what was read last. Records are frozen, so the same objects have the same bytes.

    ``view`` makes the resource of a record, and of the ``others`` that show in it. It keeps ``capacity`` of them, of
    together ``limit_bytes``.
    """

    def __init__(
        self, view: Callable[..., Any], capacity: int = CAPACITY, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self._view = view
        self._capacity = capacity
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._known: OrderedDict[str, tuple[Parts, bytes]] = OrderedDict()

    def __call__(self, record: JobRecord | AnyResource, *others: AnyResource) -> bytes:
        known = self._known.get(record.id)
        parts = (record, *others)
        if known is not None and _same(known[0], parts):
            self._known.move_to_end(record.id)
            return known[1]
        encoded = _encoder.encode(self._view(*parts))
        if known is not None:
            self._bytes -= len(known[1])
        self._known[record.id] = (parts, encoded)
        self._known.move_to_end(record.id)
        self._bytes += len(encoded)
        while len(self._known) > self._capacity or self._bytes > self._limit_bytes:
            _, (_, dropped) = self._known.popitem(last=False)
            self._bytes -= len(dropped)
        return encoded


def _same(known: Parts, parts: Parts) -> bool:
    return len(known) == len(parts) and all(map(is_, known, parts))
