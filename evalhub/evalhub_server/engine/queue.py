"""Launch queue of benchmarks: tenants take turns, first in first out within each, within the limits of the runtime."""

from __future__ import annotations

import time
from collections import Counter, defaultdict

from msgspec import Struct

from evalhub_server.plugins.runtime import Limits


class Slot(Struct, frozen=True):
    """A waiting or running benchmark, identified by job and index; provider and model URL have their own limits."""

    job_id: str
    index: int
    provider_id: str
    model_url: str
    tenant: str = ""


Lane = tuple[str, str]
"""Provider and model URL: what limits depend on. Only the first slot of a lane has to be examined."""


class LaunchQueue:
    """Waiting slots by tenant, in the order of the tenants' turns, and the running ones.

    A slot that waits for the limit of its provider or model does not hold up those behind it.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[str, dict[Lane, dict[Slot, float]]] = {}
        self._running: set[Slot] = set()
        self._by_provider: Counter[str] = Counter()
        self._by_model: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(len(slots) for lanes in self._waiting.values() for slots in lanes.values())

    @property
    def oldest_wait_s(self) -> float | None:
        """How long the oldest of the waiting slots has been in this queue, in seconds; None if none waits."""
        since = [_oldest(slots)[1] for lanes in self._waiting.values() for slots in lanes.values()]
        return time.monotonic() - min(since) if since else None

    def put(self, slot: Slot) -> None:
        """Append a slot unless it is waiting already. A tenant without waiting slots gets the last turn."""
        lanes = self._waiting.setdefault(slot.tenant, defaultdict(dict))
        lanes[_lane(slot)].setdefault(slot, time.monotonic())

    def discard(self, slot: Slot) -> bool:
        """Remove a waiting slot; False if it was not waiting."""
        lanes = self._waiting.get(slot.tenant, {})
        slots = lanes.get(_lane(slot), {})
        if slot not in slots:
            return False
        del slots[slot]
        if not slots:
            del lanes[_lane(slot)]
        if not lanes:
            del self._waiting[slot.tenant]
        return True

    def take(self) -> Slot | None:
        """Move the next slot within all limits from waiting to running and return it; None if there is none."""
        if self._full:
            return None
        for tenant, lanes in self._waiting.items():
            first = (_oldest(slots) for slots in lanes.values())
            slot, _ = min((each for each in first if self._fits(each[0])), key=_since, default=(None, 0.0))
            if slot is not None:
                self._waiting[tenant] = self._waiting.pop(tenant)  # the last turn
                self.discard(slot)
                self.occupy(slot)
                return slot
        return None

    def take_new(self, slot: Slot) -> bool:
        """Move a slot that is in neither set to running if it is within all limits, as no waiting one is; else False."""
        if self._full or not self._fits(slot):
            return False
        self.occupy(slot)
        return True

    @property
    def _full(self) -> bool:
        return self._limits.total is not None and len(self._running) >= self._limits.total

    def _fits(self, slot: Slot) -> bool:
        limits = self._limits
        return (
            limits.per_provider is None or self._by_provider[slot.provider_id] < limits.per_provider
        ) and (limits.per_model is None or self._by_model[slot.model_url] < limits.per_model)

    def occupy(self, slot: Slot) -> None:
        """Count a slot as running, regardless of the limits: it was running before a restart."""
        if slot not in self._running:
            self._running.add(slot)
            self._by_provider[slot.provider_id] += 1
            self._by_model[slot.model_url] += 1

    def release(self, slot: Slot) -> bool:
        """Remove a running slot; False if it was not running."""
        if slot not in self._running:
            return False
        self._running.remove(slot)
        self._by_provider[slot.provider_id] -= 1
        self._by_model[slot.model_url] -= 1
        return True


def _lane(slot: Slot) -> Lane:
    return slot.provider_id, slot.model_url


def _oldest(slots: dict[Slot, float]) -> tuple[Slot, float]:
    return next(iter(slots.items()))


def _since(waiting: tuple[Slot, float]) -> float:
    return waiting[1]
