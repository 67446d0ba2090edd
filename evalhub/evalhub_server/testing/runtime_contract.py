"""The contract suite for runtimes.

Subclass :class:`RuntimeContract` in a test module, and define how to create the runtime and what to run on it::

    class TestMyRuntime(RuntimeContract):
        def make_runtime(self, directory: Path) -> Runtime:
            return MyRuntime(directory)

        def succeeds(self) -> BenchmarkRun:
            return a_run({"image": "busybox", "command": "true"})

        ...

Every test gets a new runtime, checked and closed by the fixture ``runtime``, which may be overridden instead. Requires
pytest and pytest-asyncio (in any mode). No test measures time; a call that hangs fails after ``deadline_s``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import pytest_asyncio

from evalhub_server.domain.record import Exit
from evalhub_server.errors import LaunchError
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, LogOptions, Runtime

T = TypeVar("T")


def as_stored(handle: Handle) -> Handle:
    """Return the handle as a storage returns it."""
    return msgspec.json.decode(msgspec.json.encode(handle))


def retried(run: BenchmarkRun) -> BenchmarkRun:
    """Return the next attempt of the same benchmark."""
    return msgspec.structs.replace(run, attempt=run.attempt + 1)


@pytest.mark.asyncio
class RuntimeContract:
    """The tests of a runtime. Subclass it under a name that pytest collects (``Test…``) and define the methods that raise here.

    Each run that they return must be of a new job, so that tests do not affect each other.
    """

    deadline_s = 30.0
    """Time limit of one call, in seconds."""

    grace_s = 0.2
    """Grace period of ``stop`` for a workload that does not end by itself, in seconds."""

    survives_restart = True
    """False for a runtime whose workloads end with the server."""

    def make_runtime(self, directory: Path) -> Runtime:
        """Return a runtime whose state is in ``directory``. A second call stands for a restart of the server."""
        raise NotImplementedError("return the runtime, or override the fixture 'runtime'")

    def succeeds(self) -> BenchmarkRun:
        """Return a workload that ends immediately with exit status 0 and prints nothing."""
        raise NotImplementedError

    def fails_with_3(self) -> BenchmarkRun:
        """Return a workload that ends immediately with exit status 3."""
        raise NotImplementedError

    def runs_until_stopped(self) -> BenchmarkRun:
        """Return a workload that does not end and, where there are signals, ignores SIGTERM."""
        raise NotImplementedError

    def prints(self, text: str) -> BenchmarkRun:
        """Return a workload that writes ``text`` and a newline to its log, once, and ends with exit status 0."""
        raise NotImplementedError

    def cannot_start(self) -> BenchmarkRun:
        """Return a run that ``launch`` must refuse, such as one with an invalid configuration."""
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def runtime(self, tmp_path: Path) -> AsyncGenerator[Runtime]:
        runtime = self.make_runtime(tmp_path)
        await runtime.check()
        yield runtime
        await runtime.close()

    async def soon(self, outcome: Awaitable[T]) -> T:
        async with asyncio.timeout(self.deadline_s):
            return await outcome

    async def ended(self, runtime: Runtime, run: BenchmarkRun) -> tuple[Handle, Exit]:
        """Launch, wait and stop, as the core does."""
        handle = await self.soon(runtime.launch(run))
        exit_ = await self.soon(runtime.wait(handle))
        await self.soon(runtime.stop(handle, self.grace_s))
        return handle, exit_

    async def log_of(self, runtime: Runtime, handle: Handle, tail_lines: int = -1) -> str:
        async def read() -> bytes:
            options = LogOptions(tail_lines=tail_lines)
            return b"".join([chunk async for chunk in runtime.logs(handle, options)])

        return (await self.soon(read())).decode()

    async def test_it_has_names(self, runtime: Runtime) -> None:
        assert runtime.name
        assert runtime.provider_key
        pod, container = await runtime.log_source(None, "a-job", 0)
        assert pod
        assert container

    async def test_an_exit_status_of_zero_is_reported(self, runtime: Runtime) -> None:
        _, exit_ = await self.ended(runtime, self.succeeds())
        assert (exit_.code, exit_.signal, exit_.lost) == (0, "", False)

    async def test_another_exit_status_is_reported(self, runtime: Runtime) -> None:
        _, exit_ = await self.ended(runtime, self.fails_with_3())
        assert (exit_.code, exit_.signal, exit_.lost) == (3, "", False)

    async def test_a_handle_is_plain_json(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.succeeds())
        assert as_stored(handle) == handle

    async def test_waiting_again_returns_the_same_exit(self, runtime: Runtime) -> None:
        handle, first = await self.ended(runtime, self.fails_with_3())
        assert await self.soon(runtime.wait(as_stored(handle))) == first

    async def test_all_waiting_callers_get_the_exit(self, runtime: Runtime) -> None:
        handle = await self.soon(runtime.launch(self.fails_with_3()))
        exits = await self.soon(asyncio.gather(*(runtime.wait(handle) for _ in range(3))))
        assert [exit_.code for exit_ in exits] == [3, 3, 3]

    async def test_launching_twice_starts_one_workload(self, runtime: Runtime) -> None:
        run = self.prints("once")
        first = await self.soon(runtime.launch(run))
        second = await self.soon(runtime.launch(run))
        await self.soon(runtime.wait(first))
        assert second == first
        assert await self.log_of(runtime, first) == "once\n"

    async def test_launching_concurrently_starts_one_workload(self, runtime: Runtime) -> None:
        run = self.prints("once")
        handles = await self.soon(asyncio.gather(*(runtime.launch(run) for _ in range(5))))
        await self.soon(runtime.wait(handles[0]))
        assert all(handle == handles[0] for handle in handles)
        assert await self.log_of(runtime, handles[0]) == "once\n"

    async def test_launching_what_has_ended_finds_it(self, runtime: Runtime) -> None:
        run = self.prints("once")
        handle, exit_ = await self.ended(runtime, run)
        again = await self.soon(runtime.launch(run))
        assert again == handle
        assert await self.soon(runtime.wait(again)) == exit_
        assert await self.log_of(runtime, again) == "once\n"

    async def test_a_cancelled_launch_can_be_repeated(self, runtime: Runtime) -> None:
        run = self.prints("once")
        launch = asyncio.create_task(runtime.launch(run))
        await asyncio.sleep(0)
        launch.cancel()
        await asyncio.wait([launch])
        handle, exit_ = await self.ended(runtime, run)
        assert exit_.code == 0
        assert await self.log_of(runtime, handle) == "once\n"

    async def test_another_attempt_is_another_workload(self, runtime: Runtime) -> None:
        run = self.prints("again")
        first, _ = await self.ended(runtime, run)
        second, exit_ = await self.ended(runtime, retried(run))
        assert second != first
        assert exit_.code == 0
        assert await self.soon(runtime.find(retried(run))) == second

    async def test_a_refused_launch_leaves_nothing(self, runtime: Runtime) -> None:
        run = self.cannot_start()
        with pytest.raises(LaunchError) as refused:
            await self.soon(runtime.launch(run))
        assert str(refused.value)
        assert await self.soon(runtime.find(run)) is None

    async def test_nothing_is_found_before_a_launch(self, runtime: Runtime) -> None:
        run = self.succeeds()
        assert await self.soon(runtime.find(run)) is None
        assert await self.soon(runtime.find(run)) is None, "find must not start anything"

    async def test_a_running_workload_is_found(self, runtime: Runtime) -> None:
        run = self.runs_until_stopped()
        handle = await self.soon(runtime.launch(run))
        try:
            assert await self.soon(runtime.find(run)) == handle
            assert await self.soon(runtime.find(retried(run))) is None
        finally:
            await self.soon(runtime.stop(handle, self.grace_s))

    async def test_an_ended_workload_is_found(self, runtime: Runtime) -> None:
        run = self.succeeds()
        handle, _ = await self.ended(runtime, run)
        assert await self.soon(runtime.find(run)) == handle

    async def test_a_stopped_workload_has_ended(self, runtime: Runtime) -> None:
        handle = await self.soon(runtime.launch(self.runs_until_stopped()))
        await self.soon(runtime.stop(handle, self.grace_s))
        exit_ = await self.soon(runtime.wait(handle))
        assert exit_.code != 0

    async def test_a_waiting_caller_gets_the_exit_of_a_stopped_workload(self, runtime: Runtime) -> None:
        handle = await self.soon(runtime.launch(self.runs_until_stopped()))
        waiting = asyncio.create_task(runtime.wait(handle))
        await self.soon(runtime.stop(handle, self.grace_s))
        exit_ = await self.soon(waiting)
        assert exit_.code != 0

    async def test_stopping_is_idempotent(self, runtime: Runtime) -> None:
        handle = await self.soon(runtime.launch(self.runs_until_stopped()))
        await self.soon(asyncio.gather(*(runtime.stop(handle, self.grace_s) for _ in range(3))))
        await self.soon(runtime.stop(as_stored(handle), self.grace_s))

    async def test_stopping_what_has_ended_keeps_its_exit(self, runtime: Runtime) -> None:
        handle, exit_ = await self.ended(runtime, self.fails_with_3())
        await self.soon(runtime.stop(handle, self.grace_s))
        assert await self.soon(runtime.wait(handle)) == exit_

    async def test_stopping_one_workload_leaves_the_others(self, runtime: Runtime) -> None:
        stays = await self.soon(runtime.launch(self.runs_until_stopped()))
        waiting = asyncio.create_task(runtime.wait(stays))
        goes = await self.soon(runtime.launch(self.runs_until_stopped()))
        await self.soon(runtime.stop(goes, self.grace_s))
        assert not waiting.done()
        await self.soon(runtime.stop(stays, self.grace_s))
        await self.soon(waiting)

    async def test_a_cancelled_wait_leaves_the_workload_alone(self, runtime: Runtime) -> None:
        handle = await self.soon(runtime.launch(self.runs_until_stopped()))
        waiting = asyncio.create_task(runtime.wait(handle))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        again = asyncio.create_task(runtime.wait(handle))
        other, _ = await self.ended(runtime, self.succeeds())
        assert not again.done()
        await self.soon(runtime.stop(handle, self.grace_s))
        await self.soon(again)
        assert other != handle

    async def test_a_log_outlives_its_workload(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.prints("first\nsecond"))
        assert await self.log_of(runtime, handle) == "first\nsecond\n"

    async def test_the_last_lines_of_a_log_come_with_their_newlines(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.prints("first\nsecond\nthird"))
        assert await self.log_of(runtime, handle, 2) == "second\nthird\n"
        assert await self.log_of(runtime, handle, 1000) == "first\nsecond\nthird\n"

    async def test_a_workload_without_output_has_no_log(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.succeeds())
        assert await self.log_of(runtime, handle) == ""
        assert await self.log_of(runtime, handle, 10) == ""

    async def test_nothing_is_left_of_a_removed_job(self, runtime: Runtime) -> None:
        run = self.prints("gone")
        handle, _ = await self.ended(runtime, run)
        await self.soon(runtime.remove(run.spec.id, run.tenant))
        assert await self.log_of(runtime, handle) == ""
        assert await self.soon(runtime.find(run)) is None
        assert (await self.soon(runtime.wait(handle))).lost
        await self.soon(runtime.stop(handle, self.grace_s))

    async def test_removing_is_idempotent(self, runtime: Runtime) -> None:
        run = self.succeeds()
        await self.ended(runtime, run)
        await self.soon(runtime.remove(run.spec.id, run.tenant))
        await self.soon(runtime.remove(run.spec.id, run.tenant))
        await self.soon(runtime.remove("no-such-job", run.tenant))

    async def test_removing_one_job_leaves_the_others(self, runtime: Runtime) -> None:
        stays, _ = await self.ended(runtime, self.prints("here"))
        goes = self.succeeds()
        await self.ended(runtime, goes)
        await self.soon(runtime.remove(goes.spec.id, goes.tenant))
        assert await self.log_of(runtime, stays) == "here\n"

    async def test_a_workload_outlives_its_server(self, runtime: Runtime, tmp_path: Path) -> None:
        if not self.survives_restart:
            pytest.skip("its workloads end with the server")
        run = self.runs_until_stopped()
        handle = await self.soon(runtime.launch(run))
        await self.soon(runtime.close())
        restarted = self.make_runtime(tmp_path)
        try:
            await restarted.check()
            assert await self.soon(restarted.launch(run)) == handle
            waiting = asyncio.create_task(restarted.wait(as_stored(handle)))
            await self.ended(restarted, self.succeeds())
            assert not waiting.done()
            await self.soon(restarted.stop(as_stored(handle), self.grace_s))
            exit_ = await self.soon(waiting)
            assert exit_.code != 0
        finally:
            await self.soon(restarted.close())

    async def test_an_exit_is_known_after_a_restart(self, runtime: Runtime, tmp_path: Path) -> None:
        if not self.survives_restart:
            pytest.skip("its workloads end with the server")
        run = self.fails_with_3()
        handle, exit_ = await self.ended(runtime, run)
        await self.soon(runtime.close())
        restarted = self.make_runtime(tmp_path)
        try:
            await restarted.check()
            assert await self.soon(restarted.wait(as_stored(handle))) == exit_
            assert await self.soon(restarted.find(run)) == handle
        finally:
            await self.soon(restarted.close())
