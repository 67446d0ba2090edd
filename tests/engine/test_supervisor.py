"""The supervisor over a runtime whose workloads the test itself ends, at the door that plugins use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from evalhub_server.domain import transitions
from evalhub_server.domain.record import Exit, JobRecord
from evalhub_server.engine import workload_store
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.errors import LaunchError, RuntimeUnavailable, StorageError, StorageUnavailable
from evalhub_server.models.common import Message, State
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.sample import SampleSet
from evalhub_server.plugins import (
    BenchmarkRun,
    Handle,
    JobChange,
    Limits,
    LogOptions,
    Notice,
    Runtime,
    SampleFiles,
)
from evalhub_server.plugins.sections import Timespan
from evalhub_server.settings import SupervisorSettings
from evalhub_server.testing import MemoryTarget, MemoryTracker
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.memory import MemoryStorage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = SupervisorSettings(exit_grace=Timespan(0.05), stop_grace=Timespan(0.05))


class HandRuntime(Runtime):
    """Workloads are futures in ``running``; ``end`` ends one. ``faults`` are raised, one per call of that method."""

    name = "hand"
    provider_key = "hand"

    def __init__(self, **limits: int) -> None:
        self.limits = Limits(**limits)
        self.running: dict[int, asyncio.Future[Exit]] = {}
        self.launched: list[int] = []
        self.stopped: list[int] = []
        self.said: dict[int, asyncio.Queue[Notice | None]] = {}
        self.faults: dict[str, list[Exception]] = {}

    def _fault(self, method: str) -> None:
        if self.faults.get(method):
            raise self.faults[method].pop(0)

    async def check(self) -> None:
        return

    async def launch(self, run: BenchmarkRun) -> Handle:
        self._fault("launch")
        index = run.spec.benchmark_index
        if index not in self.running:
            self.launched.append(index)
            self.running[index] = asyncio.get_running_loop().create_future()
        return {"index": index}

    async def find(self, run: BenchmarkRun) -> Handle | None:
        index = run.spec.benchmark_index
        return {"index": index} if index in self.running else None

    async def wait(self, handle: Handle) -> Exit:
        self._fault("wait")
        future = self.running.get(handle["index"])
        return Exit(lost=True) if future is None else await asyncio.shield(future)

    async def notices(self, handle: Handle) -> AsyncIterator[Notice | None]:
        said = self.said.setdefault(handle["index"], asyncio.Queue())
        while True:
            yield await said.get()

    def say(self, index: int, notice: Notice | None) -> None:
        self.said.setdefault(index, asyncio.Queue()).put_nowait(notice)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        self._fault("stop")
        self.stopped.append(handle["index"])
        self.end(handle["index"], Exit(signal="SIGTERM"))

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        self._fault("logs")
        yield b"last words"

    async def sample_files(self, handle: Handle) -> SampleFiles | None:
        self._fault("sample_files")
        return None

    async def remove(self, job_id: str, tenant: str) -> None:
        return

    def end(self, index: int, exit_: Exit) -> None:
        future = self.running.get(index)
        if future is not None and not future.done():
            future.set_result(exit_)


class World:
    """A storage, a runtime and a supervisor over them; ``restart`` makes a new supervisor over the same two.

    A handle is stored at once, unless ``postponed_s`` is more than 0.
    """

    def __init__(
        self, runtime: HandRuntime, settings: SupervisorSettings = QUICK, postponed_s: float = 0
    ) -> None:
        self.storage = MemoryStorage()
        self.runtime = runtime
        self.now = NOW
        self._settings = settings
        self._postponed_s = postponed_s
        self.restart()

    def restart(self) -> None:
        self.store = JobStore(self.storage, postponed_s=self._postponed_s)
        runs = RunBuilder("http://127.0.0.1:1", "hand", [])
        self.supervisor = Supervisor(self.store, self.runtime, runs, self._settings, lambda: self.now)

    async def submit(self, benchmarks: int = 1) -> JobRecord:
        job = a_job(size=benchmarks)
        await self.store.add(job)
        self.supervisor.submit(job)
        return job

    async def report(self, job: JobRecord, index: int, status: str) -> None:
        planned = job.plan.benchmarks[index]
        event = BenchmarkEvent(
            provider_id=planned.provider_id,
            id=planned.id,
            benchmark_index=index,
            status=status,
            metrics={"acc": 1.0},
        )
        await self.store.update(job.id, None, lambda now: transitions.apply_event(now, event, self.now))

    async def until(self, job: JobRecord, condition: Callable[[JobRecord], object]) -> JobRecord:
        async with asyncio.timeout(60):
            while not condition(current := await self.store.get(job.id, None)):
                await asyncio.sleep(0.005)
        return current


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(HandRuntime())
    await made.storage.open()
    await made.supervisor.start()
    yield made
    await made.supervisor.close()


def handled(job: JobRecord) -> bool:
    return all(b.handle is not None for b in job.benchmarks)


def settled(job: JobRecord) -> bool:
    return not job.open


async def test_a_reported_result_and_an_exit_close_the_job(world: World):
    job = await world.submit()
    await world.until(job, handled)
    await world.report(job, 0, "completed")
    assert (await world.store.get(job.id, None)).open, "the process still runs"
    world.runtime.end(0, Exit(code=0))
    done = await world.until(job, settled)
    assert done.state is State.COMPLETED
    assert done.benchmarks[0].exit == Exit(code=0)


async def test_the_intent_of_a_launch_at_once_is_stored_with_the_job():
    world = World(HandRuntime(total=2))
    await world.supervisor.start()
    changes: list[JobRecord | None] = []
    world.store.listen(lambda change: changes.append(change.after))
    job = world.supervisor.reserve(a_job(size=3))
    assert [each.launched_at is not None for each in job.benchmarks] == [True, True, False]
    await world.store.add(job)
    world.supervisor.submit(job)
    await world.until(job, lambda now: sum(each.handle is not None for each in now.benchmarks) == 2)
    assert world.runtime.launched == [0, 1]
    assert len(changes) == 2, "the creation and both handles"
    assert world.supervisor.waiting == 1
    await world.supervisor.close()


async def test_a_handle_is_stored_with_the_next_change_of_its_job():
    world = World(HandRuntime(), postponed_s=3600)
    await world.supervisor.start()
    changes: list[JobRecord | None] = []
    world.store.listen(lambda change: changes.append(change.after))
    job = world.supervisor.reserve(a_job(size=2))
    await world.store.add(job)
    await until_running(world, 2)
    await world.report(job, 1, "completed")
    reported = await world.store.get(job.id, None)
    assert [each.handle for each in reported.benchmarks] == [{"index": 0}, {"index": 1}]
    assert len(changes) == 2, "the creation and the event"
    await world.supervisor.close()


async def test_an_exit_has_the_handle_of_its_workload():
    world = World(HandRuntime(), postponed_s=3600)
    await world.supervisor.start()
    job = await world.submit()
    await until_running(world, 1)
    world.runtime.end(0, Exit(code=3))
    done = await world.until(job, settled)
    assert done.benchmarks[0].handle == {"index": 0}
    await world.supervisor.close()


async def test_a_job_is_cancelled_before_its_handle_is_stored():
    world = World(HandRuntime(), postponed_s=3600)
    await world.supervisor.start()
    job = await world.submit()
    await until_running(world, 1)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    assert await world.supervisor.stop_job(cancelled) == []
    assert world.runtime.stopped == [0]
    await world.supervisor.close()


async def test_a_crash_before_the_handle_is_stored_launches_nothing_twice():
    world = World(HandRuntime(), postponed_s=3600)
    await world.supervisor.start()
    job = await world.submit()
    await until_running(world, 1)
    await world.supervisor.abandon()
    assert not handled(await world.store.get(job.id, None))
    world.restart()
    await world.supervisor.start()
    world.runtime.end(0, Exit(code=3))
    done = await world.until(job, settled)
    assert world.runtime.launched == [0]
    assert done.benchmarks[0].exit == Exit(code=3)
    await world.supervisor.close()


async def test_the_handle_of_a_remote_workload_is_stored_at_once():
    runtime = HandRuntime()
    runtime.on_this_host = False
    world = World(runtime, postponed_s=3600)
    await world.supervisor.start()
    job = await world.submit()
    await world.until(job, handled)
    await world.supervisor.close()


async def test_an_exit_after_the_result_is_written_with_the_next_write_of_any_job(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(workload_store, "END_WAIT_S", 3600)
    world = World(HandRuntime())
    await world.supervisor.start()
    job = await world.submit()
    await world.until(job, handled)
    await world.report(job, 0, "completed")
    world.runtime.end(0, Exit(code=0))
    for _ in range(50):  # all that happens is on the event loop
        await asyncio.sleep(0)
    assert (await world.store.get(job.id, None)).open, "no other write has begun"
    add, update, begun = world.storage.add_job, world.storage.update_job, asyncio.Event()

    async def add_after_the_exit(job: JobRecord) -> None:
        await begun.wait()
        await add(job)

    async def begin(job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        begun.set()
        return await update(job_id, tenant, change)

    monkeypatch.setattr(world.storage, "add_job", add_after_the_exit)
    monkeypatch.setattr(world.storage, "update_job", begin)
    async with asyncio.timeout(60):
        await world.store.add(a_job())
    done = await world.until(job, settled)
    assert done.benchmarks[0].exit == Exit(code=0)
    await world.supervisor.close()


async def test_an_exit_after_the_result_is_written_with_the_next_change_of_its_job():
    world = World(HandRuntime(), postponed_s=3600)
    changes: list[JobRecord | None] = []
    world.store.listen(lambda change: changes.append(change.after))
    await world.supervisor.start()
    job = world.supervisor.reserve(a_job(size=3))
    await world.store.add(job)
    await until_running(world, 3)
    for index in range(3):
        await world.report(job, index, "completed")
        world.runtime.end(index, Exit(code=0))
        async with asyncio.timeout(60):
            while world.supervisor.running > 2 - index:
                await asyncio.sleep(0.005)
    done = await world.until(job, settled)
    assert [each.exit for each in done.benchmarks] == [Exit(code=0)] * 3
    assert len(changes) == 5, "the creation, three events, and the last exit"
    await world.supervisor.close()


async def test_an_exit_after_the_result_is_stored_if_its_job_does_not_change():
    world = World(HandRuntime(), postponed_s=0.01)
    await world.supervisor.start()
    job = await world.submit(benchmarks=2)
    await until_running(world, 2)
    await world.report(job, 0, "completed")
    world.runtime.end(0, Exit(code=0))
    await world.until(job, lambda job: job.benchmarks[0].exit == Exit(code=0))
    await world.supervisor.close()


async def test_an_exit_that_clients_wait_for_is_written_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workload_store, "END_WAIT_S", 3600)
    world = World(HandRuntime())
    await world.supervisor.start()
    job = await world.submit(benchmarks=2)
    await world.until(job, handled)
    world.runtime.end(1, Exit(code=3))
    await world.until(job, lambda job: job.benchmarks[1].state is State.FAILED)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    assert await world.supervisor.stop_job(cancelled) == []
    assert settled(await world.store.get(job.id, None))
    await world.supervisor.close()


async def test_the_exit_of_a_remote_workload_is_written_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workload_store, "END_WAIT_S", 3600)
    world = World(HandRuntime())
    world.runtime.on_this_host = False
    await world.supervisor.start()
    job = await world.submit()
    await world.until(job, handled)
    await world.report(job, 0, "completed")
    world.runtime.end(0, Exit(code=0))
    await world.until(job, settled)
    await world.supervisor.close()


async def test_a_benchmark_needs_two_tasks_if_its_runtime_has_no_notices():
    class Quiet(HandRuntime):
        notices = Runtime.notices

    world = World(Quiet(), postponed_s=3600)
    await world.supervisor.start()
    loop, tasks = asyncio.get_running_loop(), list[str]()

    def factory(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        tasks.append(coro.__qualname__)
        return asyncio.Task(coro, loop=loop, **options)

    loop.set_task_factory(factory)
    job = world.supervisor.reserve(a_job())
    await world.store.add(job)
    await world.until(job, lambda _: world.runtime.launched)
    await world.report(job, 0, "completed")
    world.runtime.end(0, Exit(code=0))
    await world.until(job, settled)
    loop.set_task_factory(None)
    assert tasks == ["Workload.run", "RetryingRuntime.wait"]
    await world.supervisor.close()


async def until_running(world: World, workloads: int) -> None:
    """Wait until so many workloads are launched and watched."""
    async with asyncio.timeout(60):
        while len(world.runtime.said) < workloads:
            await asyncio.sleep(0.005)


async def test_a_job_that_is_not_stored_gives_its_places_back():
    world = World(HandRuntime(total=1))
    await world.supervisor.start()
    refused = world.supervisor.reserve(a_job())
    waiting = await world.submit()
    assert world.runtime.launched == []
    assert world.supervisor.waiting == 1
    world.supervisor.release(refused)
    await world.until(waiting, handled)
    await world.supervisor.close()


async def test_a_reserved_launch_that_a_crash_prevented_happens_after_the_restart(world: World):
    job = world.supervisor.reserve(a_job())
    await world.supervisor.abandon()
    await world.store.add(job)
    world.restart()
    await world.supervisor.start()
    await world.until(job, handled)
    assert world.runtime.launched == [0]
    await world.supervisor.close()


async def test_samples_are_expected_if_the_runtime_cannot_tell_what_was_left(world: World):
    world.runtime.hands_over_samples = True
    world.runtime.faults["sample_files"] = [OSError("the disk fails")]
    job = await world.submit()
    await world.until(job, handled)
    await world.report(job, 0, "completed")
    world.runtime.end(0, Exit(code=0))
    await world.until(job, lambda now: now.benchmarks[0].samples == SampleSet(attempt=1))


async def test_an_exit_without_a_result_fails_with_the_last_log_lines(world: World):
    job = await world.submit()
    await world.until(job, handled)
    world.runtime.end(0, Exit(code=3))
    done = await world.until(job, settled)
    assert done.state is State.FAILED
    error = done.benchmarks[0].error
    assert error is not None
    assert "exit code 3" in error.message
    assert "last words" in error.message
    assert world.runtime.stopped == [0], "what the adapter left running is taken too"


async def test_a_result_on_its_way_at_the_exit_counts(world: World):
    world_job = await world.submit()
    await world.until(world_job, handled)
    world.runtime.end(0, Exit(code=0))
    await asyncio.sleep(0)
    await world.report(world_job, 0, "completed")
    done = await world.until(world_job, settled)
    assert done.state is State.COMPLETED
    assert not done.benchmarks[0].provisional


@pytest.mark.parametrize("error", [LaunchError("no room"), RuntimeError("a bug")])
async def test_a_launch_that_fails_fails_the_benchmark_with_its_text(world: World, error: Exception):
    world.runtime.faults["launch"] = [error]
    job = await world.submit()
    done = await world.until(job, settled)
    assert done.state is State.FAILED
    message = done.benchmarks[0].error
    assert message is not None
    assert (message.message, message.message_code) == (str(error), "evaluation_job_failed")
    assert not done.benchmarks[0].provisional


async def test_a_launch_that_cannot_be_done_now_is_tried_again_and_says_so_meanwhile(world: World):
    world.runtime.faults["launch"] = [RuntimeUnavailable("no quota", "quota_exceeded")]
    job = await world.submit()
    waiting = await world.until(job, lambda job: job.benchmarks[0].warning)
    assert waiting.benchmarks[0].warning == Message(
        message="no quota", message_code="quota_exceeded", message_origin="server"
    )
    assert waiting.state is State.PENDING
    assert world.supervisor.runtime_failing
    running = await world.until(job, handled)
    assert running.benchmarks[0].warning is None
    assert not world.supervisor.runtime_failing
    assert world.runtime.launched == [0]


async def test_a_cancel_does_not_wait_for_a_launch_that_cannot_be_done_now(world: World):
    world.runtime.faults["launch"] = [RuntimeUnavailable("the API is away")] * 100
    job = await world.submit()
    await world.until(job, lambda job: job.benchmarks[0].warning)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    assert await world.supervisor.stop_job(cancelled) == []
    assert (await world.store.get(job.id, None)).open is False
    assert world.runtime.launched == []


async def test_a_launch_under_way_is_cancelled_and_what_it_started_is_stopped():
    class Slow(HandRuntime):
        """Never comes to the end of a launch, but has started something by then."""

        async def launch(self, run: BenchmarkRun) -> Handle:
            await super().launch(run)
            await asyncio.Event().wait()
            raise AssertionError("it was never released")

    world = World(Slow())
    await world.supervisor.start()
    job = await world.submit()
    async with asyncio.timeout(60):
        while not world.runtime.launched:
            await asyncio.sleep(0.005)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    assert await world.supervisor.stop_job(cancelled) == []
    assert world.runtime.stopped == [0]
    await world.supervisor.close()


async def test_what_a_runtime_says_of_a_workload_is_shown_and_taken_back(world: World):
    job = await world.submit()
    await world.until(job, handled)
    world.runtime.say(0, Notice(reason="suspended", message="waits for its queue"))
    waiting = await world.until(job, lambda job: job.benchmarks[0].warning)
    warning = waiting.benchmarks[0].warning
    assert warning is not None
    assert (warning.message_code, warning.message) == ("suspended", "waits for its queue")
    world.runtime.say(0, None)
    await world.until(job, lambda job: job.benchmarks[0].warning is None)


async def test_a_runtime_may_want_more_time_for_a_result_on_its_way(world: World):
    world.runtime.exit_grace_s = 3600.0
    job = await world.submit()
    await world.until(job, handled)
    world.runtime.end(0, Exit(code=0))
    await asyncio.sleep(QUICK.exit_grace * 2)
    assert not (await world.store.get(job.id, None)).state.terminal
    await world.report(job, 0, "completed")
    assert (await world.until(job, settled)).state is State.COMPLETED


async def test_a_runtime_that_cannot_tell_for_a_while_is_asked_again(world: World):
    world.runtime.faults["wait"] = [OSError("API is away")]
    world.runtime.faults["stop"] = [OSError("API is away")]
    world.runtime.faults["logs"] = [OSError("API is away")]
    job = await world.submit()
    await world.until(job, handled)
    world.runtime.end(0, Exit(code=3))
    done = await world.until(job, settled)
    error = done.benchmarks[0].error
    assert error is not None
    assert "the log cannot be read: API is away" in error.message


async def test_a_runtime_that_raises_shows_as_a_warning_and_its_traceback_is_logged(world: World):
    world.runtime.faults["wait"] = [ValueError("secret host"), ValueError("secret host")]
    with capture_logs() as logged:
        job = await world.submit()
        warned = await world.until(job, lambda job: job.benchmarks[0].warning is not None)
        warning = warned.benchmarks[0].warning
        assert warning is not None
        assert (warning.message_code, warning.message_origin) == ("runtime_error", "server")
        assert "'hand' failed to wait for the workload (ValueError)" in warning.message
        assert "secret host" not in warning.message
        world.runtime.faults["stop"] = [KeyError("gone")]
        world.runtime.end(0, Exit(code=3))
        done = await world.until(job, settled)
    assert done.state is State.FAILED
    assert done.benchmarks[0].warning is not None
    assert "failed to stop the workload (KeyError)" in done.benchmarks[0].warning.message
    failures = [line for line in logged if "failed to" in line["event"]]
    assert {(line["runtime"], type(line["exc_info"])) for line in failures} == {
        ("hand", ValueError),
        ("hand", KeyError),
    }


async def test_a_runtime_that_fails_to_stop_a_deleted_job_is_called_again(world: World):
    job = await world.submit()
    await world.until(job, handled)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    world.runtime.faults["stop"] = [OSError("no access")] * 2
    stopping = asyncio.create_task(world.supervisor.stop_job(cancelled))
    await world.store.delete(cancelled, None)
    assert await stopping == []
    assert 0 in world.runtime.stopped


async def test_a_storage_that_fails_for_a_while_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    job = await world.submit()
    await world.until(job, handled)
    write = world.storage.update_job
    failures = [StorageError("disk full"), StorageError("disk full")]

    async def failing(job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        if failures:
            raise failures.pop()
        return await write(job_id, tenant, change)

    monkeypatch.setattr(world.storage, "update_job", failing)
    world.runtime.end(0, Exit(code=3))
    assert (await world.until(job, settled)).state is State.FAILED
    assert failures == []


async def test_a_launch_that_cannot_be_noted_is_watched_and_can_be_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    write, launch = world.storage.update_job, world.runtime.launch
    full = False

    async def failing(job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        if full:
            raise StorageUnavailable("disk full")
        return await write(job_id, tenant, change)

    async def then_full(run: BenchmarkRun) -> Handle:
        nonlocal full
        full = True
        return await launch(run)

    monkeypatch.setattr(world.storage, "update_job", failing)
    monkeypatch.setattr(world.runtime, "launch", then_full)
    job = await world.submit()
    async with asyncio.timeout(30):
        while not full:
            await asyncio.sleep(0.01)
    assert world.supervisor.launched_job(job.id) is not None
    world.store.defer(b"cancel", job.id, None, lambda job: transitions.cancel(job, NOW))
    assert await world.supervisor.stop_unstored(job.id)
    assert world.runtime.stopped == [0]
    assert not (await world.store.get(job.id, None)).state.terminal
    full = False
    done = await world.until(job, settled)
    assert (done.state, done.benchmarks[0].handle) == (State.CANCELLED, {"index": 0})
    await world.until(job, lambda job: job.benchmarks[0].exit == Exit(signal="SIGTERM"))


async def test_no_more_workloads_run_than_the_runtime_wants():
    world = World(HandRuntime(total=2))
    await world.supervisor.start()
    job = await world.submit(benchmarks=4)
    await world.until(job, lambda job: sum(b.handle is not None for b in job.benchmarks) == 2)
    assert world.runtime.launched == [0, 1]
    assert world.supervisor.waiting == 2
    await world.report(job, 0, "completed")
    assert world.runtime.launched == [0, 1], "a place is free when the process is gone, not before"
    world.runtime.end(0, Exit(code=0))
    await world.until(job, lambda job: job.benchmarks[2].handle is not None)
    await world.supervisor.close()


async def test_stop_job_returns_when_nothing_runs_and_nothing_waits():
    world = World(HandRuntime(total=1))
    await world.supervisor.start()
    job = await world.submit(benchmarks=3)
    await world.until(job, lambda job: job.benchmarks[0].handle is not None)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    await world.supervisor.stop_job(cancelled)
    assert world.runtime.running[0].done()
    assert world.runtime.launched == [0]
    assert world.supervisor.waiting == 0
    assert settled(await world.store.get(job.id, None))
    await world.supervisor.close()


async def test_a_new_server_watches_what_the_old_one_launched(world: World):
    job = await world.submit(benchmarks=2)
    running = await world.until(job, handled)
    assert [benchmark.runtime for benchmark in running.benchmarks] == ["hand", "hand"]
    world.storage.durable = True
    await world.supervisor.close()
    assert not world.runtime.running[0].done(), "a durable server leaves workloads running"
    world.restart()
    await world.supervisor.start()
    world.runtime.end(0, Exit(code=3))
    del world.runtime.running[1]
    done = await world.until(job, settled)
    assert world.runtime.launched == [0, 1]
    codes = [b.error.message_code for b in done.benchmarks if b.error]
    assert codes == ["adapter_failed", "workload_lost"]


async def test_a_launch_that_a_crash_hid_is_found_and_not_repeated(world: World):
    job = await world.submit()
    await world.until(job, handled)
    world.storage.durable = True
    await world.supervisor.close()
    forget = transitions.launched
    await world.store.update(job.id, None, lambda job: forget(job, 0, None, runtime=world.runtime.name))  # type: ignore[arg-type]
    world.restart()
    await world.supervisor.start()
    await world.until(job, handled)
    assert world.runtime.launched == [0]
    world.runtime.end(0, Exit(code=3))
    await world.until(job, settled)


@pytest.mark.parametrize("launched", [True, False])
async def test_a_cancelled_job_is_cleaned_up_after_a_restart_and_never_started(world: World, launched: bool):
    world.storage.durable = True
    await world.supervisor.close()
    job = a_job()
    intended = transitions.cancel(transitions.launch_intended(job, 0, NOW, runtime=world.runtime.name), NOW)
    await world.store.add(intended)
    if launched:
        world.runtime.running[0] = asyncio.get_running_loop().create_future()
    world.restart()
    await world.supervisor.start()
    done = await world.until(job, settled)
    assert done.state is State.CANCELLED
    assert world.runtime.launched == []
    assert world.runtime.stopped == ([0] if launched else [])


async def test_a_store_in_memory_ends_its_workloads_at_close(world: World):
    job = await world.submit(benchmarks=2)
    await world.until(job, handled)
    await world.supervisor.close()
    assert sorted(world.runtime.stopped) == [0, 1]


async def test_the_age_of_a_workload_counts_from_its_launch_also_after_a_restart():
    settings = SupervisorSettings(run_timeout=Timespan(3600), stop_grace=Timespan(0), exit_grace=Timespan(0))
    world = World(HandRuntime(), settings)
    world.storage.durable = True
    await world.supervisor.start()
    job = await world.submit()
    await world.until(job, handled)
    await world.supervisor.close()
    world.now = NOW + timedelta(hours=2)
    world.restart()
    await world.supervisor.start()
    done = await world.until(job, settled)
    error = done.benchmarks[0].error
    assert error is not None
    assert error.message_code == "deadline_exceeded"
    await world.supervisor.close()


async def test_a_cancel_does_not_wait_for_ever_for_what_cannot_be_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evalhub_server.engine.supervisor.STOP_TIMEOUT_S", 0.05)
    world = World(HandRuntime())
    await world.supervisor.start()
    job = await world.submit()
    await world.until(job, handled)
    world.runtime.faults["stop"] = [OSError("no access")] * 2
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    [failure] = await world.supervisor.stop_job(cancelled)
    assert isinstance(failure, OSError)
    await world.until(job, settled)
    assert await world.supervisor.stop_job(cancelled) == []
    await world.supervisor.close()


class Stubborn(HandRuntime):
    """Ends its workloads only after the grace."""

    async def stop(self, handle: Handle, grace_s: float) -> None:
        await asyncio.sleep(grace_s)
        await super().stop(handle, grace_s)


@pytest.mark.parametrize("durable", [True, False])
async def test_a_shutdown_hurries_a_stop_that_is_under_way(durable: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evalhub_server.engine.supervisor.SHUTDOWN_GRACE_S", 0.01)
    world = World(Stubborn(), SupervisorSettings(stop_grace=Timespan(3600)))
    world.storage.durable = durable
    await world.supervisor.start()
    job = await world.submit()
    await world.until(job, handled)
    cancelled = await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    asking = asyncio.create_task(world.supervisor.stop_job(cancelled))
    await asyncio.sleep(0)
    await world.supervisor.close()
    assert world.runtime.stopped == [0]
    assert await asking == []


@pytest.mark.parametrize("error", [asyncio.CancelledError(), TypeError("not an Exit"), OSError("away")])
@pytest.mark.parametrize("method", ["launch", "wait", "stop"])
async def test_whatever_a_runtime_raises_the_benchmark_ends_and_its_workload_too(
    world: World, method: str, error: Exception
):
    world.runtime.faults[method] = [error]
    job = await world.submit()
    await world.until(job, lambda job: job.benchmarks[0].handle is not None or job.state.terminal)
    world.runtime.end(0, Exit(code=3))
    done = await world.until(job, settled)
    assert done.state is State.FAILED
    assert all(future.done() for future in world.runtime.running.values())


class FaultyTracker(MemoryTracker):
    def environment(self, tenant: str) -> Mapping[str, str]:
        raise RuntimeError("no variables")


async def test_a_tracker_without_variables_fails_the_benchmark():
    world = World(HandRuntime())
    runs = RunBuilder("http://127.0.0.1:1", "hand", [FaultyTracker(MemoryTarget())])
    world.supervisor = Supervisor(world.store, world.runtime, runs, QUICK, lambda: NOW)
    await world.supervisor.start()
    job = await world.submit()
    closed = await world.until(job, settled)
    assert closed.state is State.FAILED
    assert closed.benchmarks[0].error is not None
    assert "RuntimeError: no variables" in closed.benchmarks[0].error.message
    assert world.runtime.launched == []
    await world.supervisor.close()


async def test_a_handle_that_is_no_json_fails_the_benchmark_and_ends_the_workload(world: World):
    class Odd(HandRuntime):
        async def launch(self, run: BenchmarkRun) -> Handle:
            await super().launch(run)
            return {"index": object()}

    odd = World(Odd())
    await odd.supervisor.start()
    job = await odd.submit()
    done = await odd.until(job, settled)
    assert done.state is State.FAILED
    assert odd.runtime.stopped == [0]
    await odd.supervisor.close()


@pytest.mark.parametrize("stops", [False, True])
async def test_sigterm_interrupts_only_while_the_server_stops(stops: bool):
    world = World(HandRuntime())
    await world.supervisor.start()
    job = await world.submit()
    job = await world.until(job, lambda job: job.benchmarks[0].handle)
    if stops:
        world.supervisor.begin_close()
    world.runtime.end(0, Exit(signal="SIGTERM"))
    job = await world.until(job, lambda job: job.state.terminal)
    assert job.benchmarks[0].error is not None
    assert job.benchmarks[0].error.message_code == ("interrupted" if stops else "adapter_killed")
    await world.supervisor.close()


async def test_the_next_attempt_is_queued_and_launched():
    settings = SupervisorSettings(
        exit_grace=Timespan(0.01), stop_grace=Timespan(0.01), restart_interrupted=True
    )
    world = World(HandRuntime(total=1), settings)
    await world.supervisor.start()
    job = await world.submit()
    await world.until(job, lambda job: job.benchmarks[0].handle)
    await world.report(job, 0, "running")
    world.runtime.running.pop(0).set_result(Exit(signal="SIGTERM", reason="interrupted"))
    job = await world.until(job, lambda job: job.benchmarks[0].attempt == 2 and job.benchmarks[0].handle)
    assert job.state is State.PENDING
    assert job.benchmarks[0].warning is not None
    assert "Attempt 1 was interrupted" in job.benchmarks[0].warning.message
    await world.report(job, 0, "completed")
    world.runtime.end(0, Exit(code=0))
    async with asyncio.timeout(60):
        while world.supervisor.running:
            await asyncio.sleep(0)
    assert world.runtime.launched == [0, 0]
    await world.supervisor.close()


async def test_an_abandoned_workload_runs_on_and_is_adopted_at_the_next_start(world: World):
    job = await world.submit(2)
    await world.until(job, handled)
    await world.supervisor.abandon()
    assert not world.supervisor.active
    world.runtime.end(1, Exit(code=0))
    await world.report(job, 0, "completed")
    assert world.supervisor.running == 0
    assert world.runtime.stopped == []
    await world.supervisor.start()
    assert world.supervisor.running == 2
    world.runtime.end(0, Exit(code=0))
    done = await world.until(job, settled)
    assert [benchmark.state for benchmark in done.benchmarks] == [State.COMPLETED, State.FAILED]
    assert world.runtime.launched == [0, 1], "nothing was launched again"


async def test_a_job_is_launched_once_however_often_it_is_announced(world: World):
    job = await world.submit()
    await world.until(job, handled)
    world.supervisor.submit(job)
    assert world.supervisor.waiting == 0


async def test_a_stored_cancellation_stops_the_workloads_and_empties_the_queue():
    world = World(HandRuntime(total=1))
    await world.storage.open()
    await world.supervisor.start()
    job = await world.submit(2)
    await world.until(job, lambda job: job.benchmarks[0].handle)
    assert world.supervisor.waiting == 1
    await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    await world.until(job, settled)
    assert (world.supervisor.waiting, world.runtime.launched, world.runtime.stopped) == (0, [0], [0])
    await world.supervisor.close()


async def test_a_supervisor_that_is_not_started_queues_nothing(world: World):
    await world.supervisor.close()
    await world.submit()
    assert world.supervisor.waiting + world.supervisor.running == 0
