"""Observers that break one promise each, and their test classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from evalhub_server.plugins import (
    JobChanged,
    Observer,
)
from evalhub_server.testing import (
    MemoryObserver,
    ObserverContract,
)
from harness.mutants import Mutants

OBSERVERS = Mutants()
breaks = OBSERVERS.breaks
TOKEN = "token-of-the-target"
numbers = count()


@breaks("every_change_of_every_job_is_accepted", "raised AttributeError")
class ExpectsAnEarlierRecord(MemoryObserver):
    def job_changed(self, change: JobChanged) -> None:
        if change.after is not None and change.after.benchmarks:
            change.before.state.value  # noqa: B018  # pyright: ignore[reportOptionalMemberAccess]  the fault
        super().job_changed(change)


@breaks("the_life_of_a_job_is_observed", "neither None nor an awaitable")
class ReturnsAValue(MemoryObserver):
    def job_changed(self, change: JobChanged) -> Any:
        super().job_changed(change)
        return len(self.changes)


@breaks("effects_have_the_order_of_the_changes", "test_effects_have_the_order")
class NewestFirst(MemoryObserver):
    def job_changed(self, change: JobChanged) -> None:
        self.changes.insert(0, change)


class ObserverCase(ObserverContract):
    implementation: type[MemoryObserver]
    has_target = False

    def make_observer(self, directory: Path) -> Observer:
        self.observer = self.implementation()
        return self.observer

    async def received(self) -> Sequence[str]:
        return self.observer.job_ids


globals().update(OBSERVERS.cases(ObserverCase, MemoryObserver))
