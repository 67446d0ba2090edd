"""The contract suite for runtimes.

Subclass :class:`RuntimeContract` in a test module, and define how to create the runtime and what to run on it::

    class TestMyRuntime(RuntimeContract):
        def make_runtime(self, directory: Path) -> Runtime:
            return MyRuntime(directory, secrets=self.secrets)

        def runs_script(self, script: str) -> BenchmarkRun:
            return a_run({"command": ["sh", "-c", script]})

        def cannot_start(self) -> BenchmarkRun:
            return a_run({"command": 7})

A runtime whose adapters are no processes of this host defines the workloads one by one instead: ``succeeds``,
``fails_with_3``, ``runs_until_stopped``, ``prints``. Flags of the class (``starts_processes``, ``survives_restart``, …) are for
what a runtime cannot do.

Every test gets a new runtime, checked and closed by the fixture ``runtime``, which may be overridden instead. What a test has
launched is stopped after it, whatever has failed. Requires pytest and pytest-asyncio (in any mode). No test measures time; a
call that hangs fails after ``deadline_s``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from evalhub_server.errors import LaunchError
from evalhub_server.models.common import Json
from evalhub_server.plugins.runtime import LogPart, Readiness, Runtime
from evalhub_server.testing.adapter_input_contract import AdapterInputContract
from evalhub_server.testing.process_contract import ProcessContract
from evalhub_server.testing.runtime_case import as_stored, beside, retried
from evalhub_server.testing.runtime_restart_contract import RuntimeRestartContract


@pytest.mark.asyncio
class RuntimeContract(ProcessContract, AdapterInputContract, RuntimeRestartContract):
    """The tests of a runtime. Subclass it under a name that pytest collects (``Test…``) and define :meth:`make_runtime`,
    :meth:`cannot_start` and, for adapters that are processes of this host, :meth:`runs_script`; otherwise the other workloads.

    Each run that they return must be of a new job, so that tests do not affect each other.
    """

    async def test_it_has_names(self, runtime: Runtime) -> None:
        assert runtime.name
        assert runtime.provider_key
        pod, container = await runtime.log_source(None, "a-job", 0)
        assert pod
        assert container

    async def test_it_can_be_closed_before_it_was_checked(self, tmp_path: Path) -> None:
        """The server closes it after a check that failed, and commands create one without a check."""
        await self.soon(self.make_runtime(tmp_path).close())

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
        for turns in (0, 1, 4):
            run = self.prints("once")
            await self.cancelled_after(runtime.launch(run), turns)
            handle, exit_ = await self.ended(runtime, run)
            assert exit_.code == 0, f"exit after a launch that was cancelled after {turns} turns: {exit_}"
            assert await self.log_of(runtime, handle) == "once\n", "the log of one workload"

    async def test_the_workload_of_a_cancelled_launch_is_found(self, runtime: Runtime) -> None:
        """What exists after a job was cancelled during its launch is found, and can be stopped."""
        for turns in (1, 4):
            run = self.runs_until_stopped()
            await self.cancelled_after(runtime.launch(run), turns)
            handle = await self.soon(runtime.find(run))
            if handle is not None:
                await self.soon(runtime.stop(handle, self.grace_s))
                exit_ = await self.soon(runtime.wait(handle))
                assert exit_.code != 0, f"exit after a launch that was cancelled after {turns} turns: {exit_}"

    async def test_another_attempt_is_another_workload(self, runtime: Runtime) -> None:
        run = self.prints("again")
        first, _ = await self.ended(runtime, run)
        second, exit_ = await self.ended(runtime, retried(run))
        assert second != first
        assert exit_.code == 0
        assert await self.soon(runtime.find(retried(run))) == second
        logs = [await self.log_of(runtime, handle) for handle in (first, second)]
        assert logs == ["again\n", "again\n"], f"logs of two attempts: {logs}"

    async def test_a_refused_launch_leaves_nothing(self, runtime: Runtime, tmp_path: Path) -> None:
        run = self.cannot_start()
        with pytest.raises(LaunchError) as refused:
            await self.soon(runtime.launch(run))
        assert str(refused.value), "LaunchError has no text for the benchmark's error"
        assert await self.soon(runtime.find(run)) is None, "find() after a launch that was refused"
        left = _paths_of(run.spec.id, tmp_path)
        assert not left, f"a launch that was refused has left {left}"

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
        await self.ended(runtime, self.succeeds())  # takes as long as the end of the other one would
        assert not waiting.done(), f"another workload was stopped, and this one has ended: {waiting}"
        await self.soon(runtime.stop(stays, self.grace_s))
        await self.soon(waiting)

    async def test_a_cancelled_wait_leaves_the_workload_alone(self, runtime: Runtime) -> None:
        handle = await self.soon(runtime.launch(self.runs_until_stopped()))
        beside = asyncio.create_task(runtime.wait(handle))
        waiting = asyncio.create_task(runtime.wait(handle))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        again = asyncio.create_task(runtime.wait(handle))
        other, _ = await self.ended(runtime, self.succeeds())
        assert not beside.done(), f"a wait beside one that was cancelled: {beside}"
        assert not again.done(), f"a wait after one that was cancelled: {again}"
        await self.soon(runtime.stop(handle, self.grace_s))
        assert await self.soon(again) == await self.soon(beside), "exits for two callers"
        assert other != handle

    async def test_a_log_outlives_its_workload(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.prints("first\nsecond"))
        assert await self.log_of(runtime, handle) == "first\nsecond\n"

    async def test_the_last_lines_of_a_log_come_with_their_newlines(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.prints("first\nsecond\rstill the second\nthird"))
        last = "second\rstill the second\nthird\n"
        for lines, expected in ((2, last), (1000, f"first\n{last}"), (0, "")):
            found = await self.log_of(runtime, handle, lines)
            assert found == expected, (
                f"the last {lines} lines of a log, which end with newlines only: {found!r}"
            )

    async def test_a_workload_without_output_has_no_log(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.succeeds())
        assert await self.log_of(runtime, handle) == ""
        assert await self.log_of(runtime, handle, 10) == ""

    async def test_nothing_is_left_of_a_removed_job(self, runtime: Runtime) -> None:
        run = self.prints("gone")
        handle, _ = await self.ended(runtime, run)
        note: object = await self.soon(runtime.remove(run.spec.id, run.tenant))
        assert isinstance(note, str | None), f"remove() must return a sentence or None, not {note!r}"
        assert await self.log_of(runtime, handle) == "", "the log of a removed job"
        assert await self.soon(runtime.find(run)) is None, "find() for a removed job"
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

    async def test_jobs_of_each_tenant_can_be_removed(self, runtime: Runtime) -> None:
        runs = [msgspec.structs.replace(self.prints("here"), tenant=tenant) for tenant in self.tenants]
        handles = [(await self.ended(runtime, run))[0] for run in runs]
        await self.soon(runtime.remove(runs[0].spec.id, runs[0].tenant))
        logs = [await self.log_of(runtime, handle) for handle in handles]
        assert logs == ["", "here\n"], f"logs of jobs of {self.tenants} after the first was removed: {logs}"
        assert await self.soon(runtime.find(runs[0])) is None, f"a removed job of {runs[0].tenant}"
        assert await self.soon(runtime.find(runs[1])) == handles[1], f"the job of {runs[1].tenant}"

    async def test_benchmarks_of_one_job_have_exits_and_logs_of_their_own(self, runtime: Runtime) -> None:
        first = self.prints("first")
        second = beside(first, self.fails_with_3())
        handles = await self.soon(asyncio.gather(runtime.launch(first), runtime.launch(second)))
        exits = [await self.soon(runtime.wait(handle)) for handle in handles]
        assert [exit_.code for exit_ in exits] == [0, 3], f"exits of two benchmarks of one job: {exits}"
        logs = [await self.log_of(runtime, handle) for handle in handles]
        assert (logs[0], "first" in logs[1]) == ("first\n", False), (
            f"logs of two benchmarks of one job: {logs}"
        )

    async def test_stopping_one_benchmark_leaves_the_others_of_its_job(self, runtime: Runtime) -> None:
        first = self.runs_until_stopped()
        stays = await self.soon(runtime.launch(first))
        waiting = asyncio.create_task(runtime.wait(stays))
        goes = await self.soon(runtime.launch(beside(first, self.runs_until_stopped())))
        await self.soon(runtime.stop(goes, self.grace_s))
        await self.ended(runtime, self.succeeds())  # takes as long as the end of the other one would
        assert not waiting.done(), (
            f"another benchmark of the job was stopped, and this one has ended: {waiting}"
        )
        await self.soon(runtime.stop(stays, self.grace_s))
        await self.soon(waiting)

    # --- parts of a log, and what else the server reads

    async def test_parts_of_a_log_join_to_the_whole(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.prints("first\nsecond\nthird"))
        parts: list[LogPart] = []
        offset = 0
        while part := await self.soon(runtime.read_log(handle, offset, 5)):
            if not part.data:
                break
            assert part.end == offset + len(part.data) <= offset + 5, (
                f"read_log(offset={offset}, limit=5): {part}"
            )
            parts.append(part)
            offset = part.end
        found = b"".join(part.data for part in parts)
        assert found == b"first\nsecond\nthird\n", f"joined parts of a log: {parts}"

    async def test_the_offset_of_the_last_lines_is_where_they_begin(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.prints("first\nsecond\nthird"))
        found = {lines: await self.soon(runtime.log_offset(handle, lines)) for lines in (0, 1, 2, 3, 1000)}
        assert found == {0: 19, 1: 13, 2: 6, 3: 0, 1000: 0}, f"log_offset by number of lines: {found}"

    async def test_the_age_of_a_workload_is_known_or_unknown(self, runtime: Runtime) -> None:
        handle, _ = await self.ended(runtime, self.succeeds())
        assert await self.soon(runtime.age_s(handle)) in (None, 0.0), "age of an ended workload"
        running = await self.soon(runtime.launch(self.runs_until_stopped()))
        age_s = await self.soon(runtime.age_s(running))
        assert age_s is None or 0 <= age_s < self.deadline_s, f"age of a running workload: {age_s}"

    async def test_providers_without_an_entry_can_be_listed(self, runtime: Runtime) -> None:
        entries: tuple[Json | None, ...] = (None, {})
        for entry in entries:
            readiness: object = runtime.readiness(entry)
            assert isinstance(readiness, Readiness | None), f"readiness({entry}) returned {readiness!r}"
        assert isinstance(runtime.readiness_state(), str)


def _paths_of(job_id: str, directory: Path) -> list[str]:
    return [str(path) for path in directory.rglob("*") if job_id in path.name]
