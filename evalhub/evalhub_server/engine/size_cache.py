"""Values in memory up to a total size, of which the least recently used are dropped."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SizeCache(Generic[K, V]):
    """The most recently used values, but at least one. The unit of sizes is the caller's. Safe for threads."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        with self._lock:
            self._remove(key)
            self._values[key] = value, size
            self._size += size
            while self._size > self._max_size and len(self._values) > 1:
                self._remove(next(iter(self._values)))

    def forget(self, keys: Iterable[K]) -> None:
        with self._lock:
            for key in keys:
                self._remove(key)

    def _remove(self, key: K) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._size -= found[1]
