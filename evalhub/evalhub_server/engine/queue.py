"""Which waiting benchmark may start next: first come, first served, within the runtime's limits."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from evalhub_server.plugins.runtime import Limits


class Slot(Struct, frozen=True):
    """A benchmark that waits for its turn or has it; named by job and index, limited by provider and model."""

    job_id: str
    index: int
    provider_id: str
    model_url: str


class LaunchQueue:
    """Waiting slots in order of arrival, and how many run. One that is over a limit of its own lets others pass."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[Slot, None] = {}
        self._running: set[Slot] = set()
        self._by_provider: Counter[str] = Counter()
        self._by_model: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, slot: Slot) -> None:
        self._waiting.setdefault(slot)

    def discard(self, slot: Slot) -> bool:
        """Take a slot out of the line; False if it was not waiting."""
        return self._waiting.pop(slot, False) is None

    def take(self) -> Slot | None:
        """The next slot that may run, counted as running; None if none may."""
        limits = self._limits
        if limits.total is not None and len(self._running) >= limits.total:
            return None
        for slot in self._waiting:
            if limits.per_provider is not None and self._by_provider[slot.provider_id] >= limits.per_provider:
                continue
            if limits.per_model is not None and self._by_model[slot.model_url] >= limits.per_model:
                continue
            del self._waiting[slot]
            self.occupy(slot)
            return slot
        return None

    def occupy(self, slot: Slot) -> None:
        """Count a slot as running that runs already (found again after a restart), whatever the limits say."""
        if slot not in self._running:
            self._running.add(slot)
            self._by_provider[slot.provider_id] += 1
            self._by_model[slot.model_url] += 1

    def release(self, slot: Slot) -> None:
        if slot in self._running:
            self._running.remove(slot)
            self._by_provider[slot.provider_id] -= 1
            self._by_model[slot.model_url] -= 1
