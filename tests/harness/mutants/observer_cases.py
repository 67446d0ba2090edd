"""Observers that break one promise each, and their test classes."""

from __future__ import annotations

import time
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


@breaks("it_has_a_name", "no attribute name")
class Nameless(MemoryObserver):
    name = ""


@breaks("it_can_be_closed_before_it_was_checked", "AttributeError")
class ObserverClosesItsClient(MemoryObserver):
    client: object

    async def check(self) -> None:
        self.client = None

    async def close(self) -> None:
        assert self.client is None


@breaks("every_change_of_every_job_is_accepted", "raised AttributeError")
class ExpectsALaterRecord(MemoryObserver):
    def job_changed(self, change: JobChanged) -> None:
        change.after.state  # noqa: B018  # pyright: ignore[reportOptionalMemberAccess]  the fault
        super().job_changed(change)


@breaks("every_change_of_every_job_is_accepted", "raised IndexError")
class ExpectsOneBenchmark(MemoryObserver):
    def job_changed(self, change: JobChanged) -> None:
        job = change.after or change.before
        if job is not None and job.state.value == "cancelled" and len(job.benchmarks) > 1:
            raise IndexError(len(job.benchmarks))
        super().job_changed(change)


@breaks("the_life_of_a_job_is_observed", "blocked the event loop")
class ObserverBlocksTheLoop(MemoryObserver):
    def job_changed(self, change: JobChanged) -> None:
        if not self.changes:
            time.sleep(3.0)
        super().job_changed(change)


@breaks("effects_have_the_order_of_the_changes", "test_effects_have_the_order")
class SeesOneJob(MemoryObserver):
    def job_changed(self, change: JobChanged) -> None:
        job = change.after or change.before
        if job is not None and (not self.changes or job.id == self.job_ids[0]):
            super().job_changed(change)


class ObserverCase(ObserverContract):
    implementation: type[MemoryObserver]
    has_target = False
    blocked_s = 0.5

    def make_observer(self, directory: Path) -> Observer:
        self.observer = self.implementation()
        return self.observer

    async def received(self) -> Sequence[str]:
        return self.observer.job_ids


globals().update(OBSERVERS.cases(ObserverCase, MemoryObserver))
