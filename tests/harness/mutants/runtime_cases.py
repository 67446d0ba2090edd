"""Runtimes that break one promise each, and their test classes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from evalhub_server.plugins import BenchmarkRun, Exit, Handle, JobSpec, LogOptions, Runtime, SampleFiles
from evalhub_server.testing import RuntimeContract, a_run
from harness.mutants import Mutants
from harness.mutants.plain_runtime import PlainRuntime

RUNTIMES = Mutants()
breaks = RUNTIMES.breaks

JOB_SPEC, INPUT = "the_job_specification_arrives_complete", "variables_of_trackers_arrive"
RUNNING = "stop_ends_all_descendants_of_a_running_workload"
ENDED = "stop_ends_all_descendants_of_an_ended_workload"
REACTS = "stop_lets_a_workload_react_to_sigterm"
OUTPUTS = "both_outputs_are_in_the_log_unchanged"
LATE = "did not return within"


@breaks(JOB_SPEC, "job.json differs")
class EmptyJobSpec(PlainRuntime):
    def job_spec(self, run: BenchmarkRun, folder: Path) -> Any:
        return {"callback_url": run.spec.callback_url}


@breaks(JOB_SPEC, "'metric_properties'")
class JobSpecWithoutAField(PlainRuntime):
    def job_spec(self, run: BenchmarkRun, folder: Path) -> JobSpec:
        return msgspec.structs.replace(super().job_spec(run, folder), metric_properties=msgspec.UNSET)


@breaks(INPUT, "CONTRACT_TEXT")
class NoVariables(PlainRuntime):
    def variables(self, run: BenchmarkRun) -> dict[str, str]:
        return {}


@breaks(INPUT, "CONTRACT_TEXT")
class ExpandsVariables(PlainRuntime):
    def variables(self, run: BenchmarkRun) -> dict[str, str]:
        return {name: os.path.expandvars(value) for name, value in run.environment.items()}


@breaks(REACTS, "killed before the grace was over")
class KillsAtOnce(PlainRuntime):
    async def stop(self, handle: Handle, grace_s: float) -> None:
        await super().stop(handle, 0.0)


@breaks(REACTS, LATE, deadline_s=3.0)
class AlwaysLate(PlainRuntime):
    async def stop(self, handle: Handle, grace_s: float) -> None:
        await super().stop(handle, grace_s)
        await asyncio.sleep(grace_s)


@breaks("stop_kills_a_workload_that_ignores_sigterm", LATE, deadline_s=3.0)
class NeverKills(PlainRuntime):
    async def stop(self, handle: Handle, grace_s: float) -> None:
        await super().stop(handle, 1e9)


@breaks(RUNNING, "'child'")
class LeavesChildren(PlainRuntime):
    def members(self, folder: Path) -> list[int]:
        return [pid for pid in super().members(folder) if os.getpgid(pid) == pid][:1]


@breaks(RUNNING, "'orphan in a session of its own'")
class LeavesOtherSessions(PlainRuntime):
    def members(self, folder: Path) -> list[int]:
        leader = self.leader(folder)
        return [pid for pid in super().members(folder) if os.getsid(pid) == leader]


@breaks(ENDED, "an ended workload: stop() returned and left alive")
class IgnoresEndedWorkloads(PlainRuntime):
    async def stop(self, handle: Handle, grace_s: float) -> None:
        if self.leader(self.folder_of(handle)):
            await super().stop(handle, grace_s)


@breaks(RUNNING, "stop() returned and left alive")
class StopReturnsEarly(PlainRuntime):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.tasks: list[asyncio.Task[None]] = []

    async def stop(self, handle: Handle, grace_s: float) -> None:
        self.tasks.append(asyncio.create_task(super().stop(handle, grace_s)))

    async def close(self) -> None:
        await asyncio.wait(self.tasks) if self.tasks else None


@breaks("stop_does_not_block_the_event_loop", "blocked the event loop")
class BlocksInStop(PlainRuntime):
    async def stop(self, handle: Handle, grace_s: float) -> None:
        self.send(self.members(self.folder_of(handle)), signal.SIGTERM)
        time.sleep(max(grace_s, 3.0))  # noqa: ASYNC251  the fault
        await super().stop(handle, 0.0)


@breaks("stopping_one_workload_leaves_the_others", "blocked the event loop", deadline_s=3.0)
class BlocksInWait(PlainRuntime):
    async def wait(self, handle: Handle) -> Exit:
        while self.leader(self.folder_of(handle)):
            time.sleep(0.02)  # noqa: ASYNC251  the fault
        return await super().wait(handle)


@breaks("launching_twice_starts_one_workload", "once")
class StartsAgain(PlainRuntime):
    async def launch(self, run: BenchmarkRun) -> Handle:
        handle = await super().launch(run)
        if (self.folder_of(handle) / "seen").exists():
            self.start(run, self.folder_of(handle), self.script(run))
            await self.wait(handle)
        (self.folder_of(handle) / "seen").touch()
        return handle


@breaks("launching_concurrently_starts_one_workload", "once")
class LaunchesInARace(PlainRuntime):
    async def launch(self, run: BenchmarkRun) -> Handle:
        folder = self.folder(*run.key)
        if not (folder / "pid").exists():
            await asyncio.sleep(0.01)
            self.start(run, folder, self.script(run))
            await self.wait(self.handle(run))
        return self.handle(run)


@breaks("launching_what_has_ended_finds_it", "once")
class RestartsWhatHasEnded(PlainRuntime):
    async def launch(self, run: BenchmarkRun) -> Handle:
        if self.recorded_exit(self.folder(*run.key)):
            (self.folder(*run.key) / "pid").unlink()
        return await super().launch(run)


@breaks("nothing_is_found_before_a_launch", "None")
class FindStarts(PlainRuntime):
    async def find(self, run: BenchmarkRun) -> Handle | None:
        return await self.launch(run)


@breaks("another_attempt_is_another_workload", "another_attempt")
class IgnoresAttempts(PlainRuntime):
    def folder(self, job_id: str, index: int, attempt: int) -> Path:
        return super().folder(job_id, index, 1)

    def handle(self, run: BenchmarkRun) -> Handle:
        return {**super().handle(run), "attempt": 1}


@breaks("another_exit_status_is_reported", "3")
class AlwaysSucceeds(PlainRuntime):
    def recorded_exit(self, folder: Path) -> Exit | None:
        return Exit(code=0) if super().recorded_exit(folder) else None


@breaks("the_signal_that_ended_a_workload_is_reported", "exit of a workload that a signal ended")
class ReportsSignalsAsStatus(PlainRuntime):
    def recorded_exit(self, folder: Path) -> Exit | None:
        exit_ = super().recorded_exit(folder)
        return Exit(code=137) if exit_ and exit_.signal else exit_


@breaks("an_exit_is_known_after_a_restart", "lost=True")
class ForgetsExits(PlainRuntime):
    async def check(self) -> None:
        await super().check()
        for file in self.base.glob("*/*/exit"):
            file.unlink()


@breaks("a_workload_outlives_its_server", "test_a_workload_outlives_its_server")
class EndsWithTheServer(PlainRuntime):
    async def close(self) -> None:
        for folder in self.base.glob("*/*"):
            self.send(self.members(folder), signal.SIGKILL)


@breaks("workloads_of_a_killed_server_are_found_by_the_next_one", "find() after the server")
class RemembersInMemory(PlainRuntime):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.known: set[tuple[str, int, int]] = set()

    async def launch(self, run: BenchmarkRun) -> Handle:
        self.known.add(run.key)
        return await super().launch(run)

    async def find(self, run: BenchmarkRun) -> Handle | None:
        return await super().find(run) if run.key in self.known else None


@breaks(OUTPUTS, "log of")
class LosesErrors(PlainRuntime):
    def files(self, folder: Path) -> list[tuple[object, ...]]:
        return [*super().files(folder)[:2], (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]


@breaks(OUTPUTS, "log of")
class DecodesLogs(PlainRuntime):
    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        async for chunk in super().logs(handle, options):
            yield chunk.decode(errors="replace").encode()


@breaks("the_last_lines_of_a_log_come_with_their_newlines", "second")
class TailWithoutNewlines(PlainRuntime):
    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        async for chunk in super().logs(handle, options):
            yield b"".join(BytesIO(chunk).readlines()).rstrip(b"\n") if options.tail_lines > 0 else chunk


@breaks("the_last_lines_of_a_log_come_with_their_newlines", "the last 0 lines of a log")
class NoLinesAreAllLines(PlainRuntime):
    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        async for chunk in super().logs(handle, LogOptions(tail_lines=options.tail_lines or -1)):
            yield chunk


@breaks("the_last_lines_of_a_log_come_with_their_newlines", "the last 2 lines of a log")
class CarriageReturnsEndLines(PlainRuntime):
    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        async for chunk in super().logs(handle, LogOptions(tail_lines=-1)):
            lines = chunk.splitlines(keepends=True)
            yield b"".join(lines[-options.tail_lines :] if options.tail_lines > 0 else lines)


@breaks("a_log_outlives_its_workload", "first")
class LogEndsWithItsWorkload(PlainRuntime):
    async def stop(self, handle: Handle, grace_s: float) -> None:
        await super().stop(handle, grace_s)
        (self.folder_of(handle) / "log").unlink(missing_ok=True)


@breaks("an_adapter_does_not_wait_for_input", LATE, deadline_s=3.0)
class StandardInputStaysOpen(PlainRuntime):
    def files(self, folder: Path) -> list[tuple[object, ...]]:
        fifo = folder / "input"
        os.mkfifo(fifo)
        return [(os.POSIX_SPAWN_OPEN, 0, str(fifo), os.O_RDWR, 0), *super().files(folder)[1:]]


@breaks("samples_and_artifacts_are_handed_over", "FileNotFoundError")
class SamplesElsewhere(PlainRuntime):
    async def sample_files(self, handle: Handle) -> SampleFiles | None:
        return SampleFiles(samples=self.base / "samples", artifacts=self.folder_of(handle) / "artifacts")


@breaks("a_handle_is_plain_json", "test_a_handle_is_plain_json")
class HandleOfTuples(PlainRuntime):
    def handle(self, run: BenchmarkRun) -> Handle:
        return {**super().handle(run), "key": run.key}


@breaks("a_refused_launch_leaves_nothing", "KeyError")
class RefusesWithAnotherError(PlainRuntime):
    def script(self, run: BenchmarkRun) -> str:
        return (
            {"script": run.config or {}}["script"]["no such key"] if not run.config else super().script(run)
        )


@breaks("a_refused_launch_leaves_nothing", "test_a_refused_launch_leaves_nothing")
class RefusedLaunchIsFound(PlainRuntime):
    async def launch(self, run: BenchmarkRun) -> Handle:
        if not (run.config or {}).get("script"):
            self.folder(*run.key).mkdir(parents=True)
            (self.folder(*run.key) / "pid").touch()
        return await super().launch(run)


@breaks("removing_one_job_leaves_the_others", "here")
class RemovesAllJobs(PlainRuntime):
    async def remove(self, job_id: str, tenant: str) -> None:
        shutil.rmtree(self.base)


@breaks("jobs_of_each_tenant_can_be_removed", "logs of jobs of")
class RemovesNothingOfTenants(PlainRuntime):
    async def remove(self, job_id: str, tenant: str) -> None:
        if not tenant:
            await super().remove(job_id, tenant)


@breaks("nothing_is_left_of_a_removed_job", "gone")
class RemoveKeepsTheLog(PlainRuntime):
    async def remove(self, job_id: str, tenant: str) -> None:
        for file in (self.base / job_id).glob("*/pid"):
            file.unlink()


@breaks("a_cancelled_wait_leaves_the_workload_alone", "test_a_cancelled_wait_leaves_the_workload_alone")
class CancelledWaitKills(PlainRuntime):
    async def wait(self, handle: Handle) -> Exit:
        try:
            return await super().wait(handle)
        except asyncio.CancelledError:
            while members := self.members(self.folder_of(handle)):
                self.send(members, signal.SIGKILL)
                time.sleep(0.01)  # noqa: ASYNC251  the end of the workload is sure before the call returns
            raise


@breaks("stopping_one_workload_leaves_the_others", "test_stopping_one_workload_leaves_the_others")
class StopsAllWorkloads(PlainRuntime):
    def members(self, folder: Path) -> list[int]:
        return [pid for each in self.base.glob("*/*") for pid in PlainRuntime.members(self, each)]


@breaks("all_waiting_callers_get_the_exit", LATE, deadline_s=3.0)
class OneCallerWaits(PlainRuntime):
    async def wait(self, handle: Handle) -> Exit:
        folder = self.folder_of(handle)
        if (folder / "waiting").exists():
            await asyncio.Event().wait()
        (folder / "waiting").touch()
        return await super().wait(handle)


@breaks("benchmarks_of_one_job_have_exits_and_logs_of_their_own", "two benchmarks of one job")
class OneFolderForAJob(PlainRuntime):
    def folder(self, job_id: str, index: int, attempt: int) -> Path:
        return super().folder(job_id, 0, attempt)


@breaks("parts_of_a_log_join_to_the_whole", "joined parts of a log")
class PartsOverlap(PlainRuntime):
    async def read_log(self, handle: Handle, offset: int, limit_bytes: int) -> Any:
        part = await super().read_log(handle, max(0, offset - 1), limit_bytes)
        return part._replace(end=offset + limit_bytes) if part.data else part


class PlainCase(RuntimeContract):
    implementation: type[PlainRuntime]
    blocked_s = 0.6

    def make_runtime(self, directory: Path) -> Runtime:
        return self.implementation(directory)

    def runs_script(self, script: str) -> BenchmarkRun:
        return a_run({"script": script})

    def cannot_start(self) -> BenchmarkRun:
        return a_run({})


globals().update(RUNTIMES.cases(PlainCase, PlainRuntime))
