"""Resources as JSON, encoded once for as long as they stay what they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource

_encoder = msgspec.json.Encoder()
CAPACITY = 1024

Parts = tuple[JobRecord | AnyResource, ...]


class RecordEncoder:
    """Remembers the bytes of what was read last. Records are frozen, so the same objects have the same bytes.

    ``view`` makes the resource of a record, and of the ``others`` that show in it.
    """

    def __init__(self, view: Callable[..., Any], capacity: int = CAPACITY) -> None:
        self._view = view
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[Parts, bytes]] = OrderedDict()

    def __call__(self, record: JobRecord | AnyResource, *others: AnyResource) -> bytes:
        known = self._known.get(record.id)
        parts = (record, *others)
        if known is not None and _same(known[0], parts):
            self._known.move_to_end(record.id)
            return known[1]
        encoded = _encoder.encode(self._view(*parts))
        self._known[record.id] = (parts, encoded)
        self._known.move_to_end(record.id)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return encoded


def _same(known: Parts, parts: Parts) -> bool:
    return len(known) == len(parts) and all(one is other for one, other in zip(known, parts, strict=True))
