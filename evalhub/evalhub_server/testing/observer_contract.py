"""The contract suite for observers.

Subclass :class:`ObserverContract` in a test module, and define what is observed and where it shows::

    class TestMyObserver(ObserverContract):
        def make_observer(self, directory: Path) -> Observer:
            return MyObserver(self.target.url)

        async def received(self) -> Sequence[str]:
            return [message["job_id"] for message in self.target.messages]

Requires pytest and pytest-asyncio (in any mode).
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import Exit, JobRecord, OutboxEntry, with_changes
from evalhub_server.models.common import State
from evalhub_server.plugins.observation import Observer
from evalhub_server.testing.builders import EPOCH, a_finished_job, a_job
from evalhub_server.testing.contract import TURNS, Contract, check_hidden
from evalhub_server.testing.exporter_case import before_the_end
from evalhub_server.testing.filled_record import a_filled_job


def life_of(job: JobRecord) -> list[JobChanged]:
    """Return the changes of a finished job: create, launch, run, end, exit, export and delete."""
    running = before_the_end(job)
    launched = with_changes(
        running,
        state=State.PENDING,
        benchmarks=tuple(
            msgspec.structs.replace(each, state=State.PENDING, launched_at=EPOCH) for each in job.benchmarks
        ),
    )
    pending = with_changes(
        launched,
        benchmarks=tuple(msgspec.structs.replace(each, launched_at=None) for each in launched.benchmarks),
    )
    exited = tuple(
        msgspec.structs.replace(each, launched_at=EPOCH, exit=Exit(code=0)) for each in job.benchmarks
    )
    entry = OutboxEntry(kind="exporter", name="e", event="card", since=EPOCH + timedelta(minutes=5))
    ended = with_changes(job, benchmarks=exited, outbox=(entry,))
    exported = with_changes(ended, outbox=(msgspec.structs.replace(entry, state="succeeded", attempts=1),))
    states = (None, pending, launched, running, job, ended, exported, None)
    return [JobChanged(before=before, after=after) for before, after in pairwise(states)]


@pytest.mark.asyncio
class ObserverContract(Contract):
    """The tests of an observer. Subclass it under a name that pytest collects (``Test…``)."""

    deadline_s = 10.0
    """The time limit that servers set for one change, in seconds."""

    has_target = True
    """False for an observer that does not depend on another system; then :meth:`unavailable` is not needed."""

    secrets: Sequence[str] = ()
    """What it must not show: the secrets in its settings and in its target."""

    def make_observer(self, directory: Path) -> Observer:
        """Return the observer over the test's target."""
        raise NotImplementedError("return an Observer")

    async def received(self) -> Sequence[str]:
        """Return the ids of the jobs whose changes have had an effect, in their order; one id for each effect."""
        raise NotImplementedError("return the ids of jobs")

    def unavailable(self) -> AbstractContextManager[object]:
        """Return a context manager within which the target does not respond."""
        raise NotImplementedError("return a context manager, or set has_target = False")

    @pytest_asyncio.fixture
    async def observer(self, tmp_path: Path) -> AsyncGenerator[Observer]:
        observer = self.make_observer(tmp_path)
        await self.soon(observer.check())
        yield observer
        await self.soon(observer.close())

    async def observe(self, observer: Observer, changes: Sequence[JobChanged]) -> None:
        """Deliver changes as the server does."""
        for change in changes:
            result: object = observer.job_changed(change)
            if result is not None:
                assert inspect.isawaitable(result), f"it returned {result!r}, neither None nor an awaitable"
                await self.soon(result)

    async def test_it_has_a_name(self, observer: Observer) -> None:
        name: object = getattr(observer, "name", None)
        assert name, "it has no attribute name"
        assert isinstance(name, str), f"its attribute name is {name!r}"

    async def test_it_can_be_closed_before_it_was_checked(self, tmp_path: Path) -> None:
        """The server closes it after a check that failed."""
        await self.soon(self.make_observer(tmp_path).close())

    async def test_it_starts_while_its_target_is_unavailable(self, tmp_path: Path) -> None:
        if not self.has_target:
            pytest.skip("has_target = False")
        observer = self.make_observer(tmp_path)
        with self.unavailable():
            try:
                await self.soon(observer.check())
            except Exception as error:
                raise AssertionError(
                    f"check() failed although only the target is unavailable: {error!r}"
                ) from error
        await self.soon(observer.close())

    async def test_the_life_of_a_job_is_observed(self, observer: Observer) -> None:
        job = a_finished_job()
        await self.observe(observer, life_of(job))
        received = list(await self.soon(self.received()))
        assert received, "no change of a job's life had an effect"
        assert set(received) == {job.id}, f"effects of changes of {job.id}: {received}"

    async def test_effects_have_the_order_of_the_changes(self, observer: Observer) -> None:
        jobs = [a_finished_job() for _ in range(5)]
        for job in jobs:
            await self.observe(observer, life_of(job))
        received = list(dict.fromkeys(await self.soon(self.received())))
        assert received == [job.id for job in jobs]

    async def test_every_change_of_every_job_is_accepted(self, observer: Observer) -> None:
        for job in (a_job(), a_job(size=3), a_filled_job()):
            for state in State:
                after = with_changes(job, state=state)
                for before in (None, job):
                    for change in (
                        JobChanged(before=before, after=after),
                        JobChanged(before=job, after=None),
                    ):
                        try:
                            await self.observe(observer, [change])
                        except AssertionError:
                            raise
                        except Exception as error:
                            raise AssertionError(f"a change to {state} raised {error!r}") from error

    async def test_a_cancelled_observation_does_not_affect_the_next(self, observer: Observer) -> None:
        job = a_finished_job()
        for turns in TURNS:
            for change in life_of(a_finished_job()):
                result = observer.job_changed(change)
                if result is not None:
                    await self.cancelled_after(result, turns)
        await self.observe(observer, life_of(job))
        assert job.id in await self.soon(self.received()), "no effect of a job after others were cancelled"

    async def test_an_outage_affects_its_changes_only(self, observer: Observer) -> None:
        if not self.has_target:
            pytest.skip("has_target = False")
        job = a_finished_job()
        with self.unavailable():
            await self.observe_with_errors(observer, life_of(a_finished_job()))
        await self.observe(observer, life_of(job))
        assert job.id in await self.soon(self.received()), "no effect of a job after the end of an outage"

    async def test_secrets_are_not_shown(self, observer: Observer, caplog: pytest.LogCaptureFixture) -> None:
        errors: list[Exception] = []
        with capture_logs() as logged:
            if self.has_target:
                with self.unavailable():
                    errors = await self.observe_with_errors(observer, life_of(a_finished_job()))
            await self.observe(observer, life_of(a_finished_job()))
        check_hidden(self.secrets, the_observer=observer, errors=errors, the_log=(logged, caplog.text))

    async def observe_with_errors(self, observer: Observer, changes: Sequence[JobChanged]) -> list[Exception]:
        """Deliver changes and return the exceptions, which a server would log."""
        errors: list[Exception] = []
        for change in changes:
            try:
                await self.observe(observer, [change])
            except AssertionError:
                raise
            except Exception as error:  # noqa: BLE001  the server logs them
                errors.append(error)
        return errors
