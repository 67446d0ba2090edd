"""Observers with a target that break one promise each, and their test classes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from evalhub_server.plugins import JobChanged, Observer
from evalhub_server.testing import MemoryTarget, ObserverContract
from harness.mutants import Mutants

OBSERVER_TARGETS = Mutants()
breaks = OBSERVER_TARGETS.breaks
TOKEN = "token-of-the-target"


class TargetObserver(Observer):
    """A good one: sends the id of the job of each change to a target."""

    name = "target"

    def __init__(self, target: MemoryTarget, sent: list[str]) -> None:
        self._target = target
        self._sent = sent

    async def job_changed(self, change: JobChanged) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await self._target.respond()
        if (job := change.after or change.before) is not None:
            self._sent.append(job.id)


@breaks("it_starts_while_its_target_is_unavailable", "although only the target is unavailable")
class NeedsItsTargetToStart(TargetObserver):
    async def check(self) -> None:
        await self._target.respond()


@breaks("an_outage_affects_its_changes_only", "after the end of an outage")
class StopsAfterAnOutage(TargetObserver):
    broken = False

    async def job_changed(self, change: JobChanged) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.broken:
            try:
                await super().job_changed(change)
            except ConnectionError:
                self.broken = True


@breaks("an_outage_affects_its_changes_only", "did not return within", deadline_s=2.0)
class RetriesForever(TargetObserver):
    async def job_changed(self, change: JobChanged) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        while True:
            try:
                return await super().job_changed(change)
            except ConnectionError:
                await asyncio.sleep(0.05)


@breaks("a_cancelled_observation_does_not_affect_the_next", "did not return within", deadline_s=2.0)
class KeepsItsLockAfterACancel(TargetObserver):
    def __init__(self, target: MemoryTarget, sent: list[str]) -> None:
        super().__init__(target, sent)
        self.lock = asyncio.Lock()

    async def job_changed(self, change: JobChanged) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await self.lock.acquire()
        await super().job_changed(change)
        self.lock.release()


@breaks("secrets_are_not_shown", "secrets can be read in errors")
class ObserverShowsItsToken(TargetObserver):
    async def job_changed(self, change: JobChanged) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        try:
            await super().job_changed(change)
        except ConnectionError as error:
            raise ConnectionError(f"{error} ({TOKEN})") from error


@breaks("secrets_are_not_shown", "secrets can be read in the observer")
class ObserverIsItsToken(TargetObserver):
    def __repr__(self) -> str:
        return f"TargetObserver({TOKEN})"


class ObserverTargetCase(ObserverContract):
    implementation: type[TargetObserver]
    secrets = (TOKEN,)

    @pytest.fixture(autouse=True)
    def target_of_test(self) -> None:
        self.target = MemoryTarget()
        self.sent: list[str] = []

    def make_observer(self, directory: Path) -> Observer:
        return self.implementation(self.target, self.sent)

    async def received(self) -> Sequence[str]:
        return self.sent

    def unavailable(self) -> AbstractContextManager[object]:
        return self.target.when("down")


globals().update(OBSERVER_TARGETS.cases(ObserverTargetCase, TargetObserver))
