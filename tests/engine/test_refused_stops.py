"""Supervision of workloads that the runtime is refused to stop, as in a cluster without the rights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.test_supervisor import NOW, QUICK, HandRuntime, World, handled
from evalhub_common.backoff import Backoff
from evalhub_server.domain import transitions
from evalhub_server.domain.record import Exit
from evalhub_server.engine.unstopped import left_running, not_stopped
from evalhub_server.errors import RuntimeRefused, RuntimeUnavailable
from evalhub_server.models.common import State
from evalhub_server.plugins import BenchmarkRun, Handle
from evalhub_server.plugins.sections import Timespan
from evalhub_server.settings import SupervisorSettings


class Refusing(HandRuntime):
    """Refuses to stop and to find workloads while ``refuses``; retries last for ``retry_for_s``."""

    refuses = True
    retry_for_s = 3600.0

    def _refuse(self) -> None:
        if self.refuses:
            raise RuntimeRefused("may not delete jobs", "rights_lost", retry_for_s=self.retry_for_s)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        self._refuse()
        await super().stop(handle, grace_s)

    async def find(self, run: BenchmarkRun) -> Handle | None:
        self._refuse()
        return await super().find(run)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("evalhub_server.engine.supervisor.SHUTDOWN_STOP_S", 0.05)
    world = World(Refusing())
    await world.supervisor.start()
    yield world
    await world.supervisor.close()


def refusing(world: World) -> Refusing:
    assert isinstance(world.runtime, Refusing)
    return world.runtime


async def test_an_exit_is_stored_although_the_stop_is_refused_and_the_stop_is_retried(world: World):
    job = await world.submit()
    await world.until(job, handled)
    world.runtime.end(0, Exit(code=3))
    done = await world.until(job, lambda job: job.state.terminal)
    assert done.benchmarks[0].exit == Exit(code=3)
    assert world.runtime.stopped == []
    refusing(world).refuses = False
    await world.until(job, lambda _: world.runtime.stopped)


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_request_does_not_wait_for_the_next_retry(
    world: World, refuses: bool, monkeypatch: pytest.MonkeyPatch
):
    # As long as the stop that is no longer refused may take on a busy machine.
    monkeypatch.setattr("evalhub_server.engine.supervisor.FAILING_S", 0.05 if refuses else 10)
    monkeypatch.setattr("evalhub_server.engine.runtime_retry.RETRY", Backoff(first_s=3600, max_s=3600))
    job = await world.submit()
    await world.until(job, handled)
    world.runtime.end(0, Exit(code=3))
    done = await world.until(job, lambda job: job.state.terminal)
    refusing(world).refuses = refuses
    async with asyncio.timeout(60):
        failures = await world.supervisor.stop_job(done)
    assert [type(failure) for failure in failures] == ([RuntimeRefused] if refuses else [])
    assert world.runtime.stopped == ([] if refuses else [0])


async def test_a_deadline_is_stored_although_the_stop_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evalhub_server.engine.supervisor.SHUTDOWN_STOP_S", 0.05)
    settings = SupervisorSettings(**{**QUICK_FIELDS, "start_timeout": Timespan(0.05)})
    world = World(Refusing(), settings)
    await world.supervisor.start()
    job = await world.submit()
    done = await world.until(job, lambda job: job.state.terminal)
    error = done.benchmarks[0].error
    assert error is not None
    assert error.message_code == "deadline_exceeded"
    await world.supervisor.close()


QUICK_FIELDS = {name: getattr(QUICK, name) for name in QUICK.__struct_fields__}


@pytest.mark.parametrize("retry_for_s", [0.0, 3600.0])
async def test_a_cancel_reports_the_refusal(
    world: World, retry_for_s: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_server.engine.supervisor.FAILING_S", 0.05)
    refusing(world).retry_for_s = retry_for_s
    job = await world.submit()
    await world.until(job, handled)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    [failure] = await world.supervisor.stop_job(cancelled)
    assert isinstance(failure, RuntimeRefused)


async def test_a_stop_that_stays_refused_is_given_up(world: World):
    refusing(world).retry_for_s = 0
    job = await world.submit()
    await world.until(job, handled)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    await world.supervisor.stop_job(cancelled)
    exit_ = (await world.until(job, lambda job: not job.unfinished)).benchmarks[0].exit
    assert exit_ == Exit(lost=True, reason="rights_lost", message="may not delete jobs")
    assert world.supervisor.running == 0
    assert await world.supervisor.stop_job(cancelled) == []


async def test_a_cancelled_launch_that_may_not_be_looked_up_is_given_up(world: World):
    refusing(world).retry_for_s = 0
    world.runtime.faults["launch"] = [RuntimeUnavailable("the API is unavailable")] * 100
    job = await world.submit()
    await world.until(job, lambda job: job.benchmarks[0].warning)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    [failure] = await world.supervisor.stop_job(cancelled)
    assert isinstance(failure, RuntimeRefused)
    done = await world.until(job, lambda job: not job.unfinished)
    assert done.state is State.CANCELLED


@pytest.mark.parametrize(
    ("failures", "status", "fragment"),
    [
        (
            [RuntimeUnavailable("no connection"), None],
            503,
            "not stopped yet: no connection. The server keeps",
        ),
        ([None], 503, "not stopped yet. The server keeps trying"),
        ([RuntimeUnavailable("no connection"), OSError("a bug")], 500, "see the server log"),
        ([], 500, "see the server log"),
    ],
)
def test_the_answer_has_the_reason_unless_it_is_unexpected(
    failures: list[BaseException | None], status: int, fragment: str
):
    error = not_stopped("j1", "cancelled", failures)
    assert error.status == status
    assert fragment in error.message
    assert ("Retry-After" in error.headers) == (status == 503)


def test_a_response_names_few_of_many_refusals():
    assert left_running([]) == ""
    refused = [RuntimeRefused(f"job {number}") for number in range(100)]
    assert left_running(refused) == ("Workloads of the job may still run: job 0; job 1; job 2 (and 97 more).")
