"""Runtimes that break one promise about processes, their input and their end each, and their test classes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from evalhub_server.plugins import BenchmarkRun, Exit, Handle, JobSpec, LaunchError, LogOptions
from harness.mutants import Mutants
from harness.mutants.plain_runtime import PlainRuntime
from harness.mutants.runtime_cases import PlainCase

RUNTIME_PROCESSES = Mutants()
breaks = RUNTIME_PROCESSES.breaks

LATE = "did not return within"
STATUSES = "every_exit_status_is_reported"
STOPS = "each_of_several_stops_returns_after_the_end"
AGAIN = "a_cancelled_stop_can_be_repeated_with_a_shorter_grace"


@breaks("secrets_of_the_server_do_not_arrive", "variables with secrets of the server reach adapters")
class InheritsEverything(PlainRuntime):
    def variables(self, run: BenchmarkRun) -> dict[str, str]:
        return {**os.environ, **super().variables(run)}


@breaks("variables_of_trackers_arrive", "inherited from the server")
class InheritedVariablesWin(PlainRuntime):
    def variables(self, run: BenchmarkRun) -> dict[str, str]:
        own = super().variables(run)
        return own | {name: os.environ[name] for name in own if name in os.environ}


@breaks("variables_name_the_mode_and_the_interpreter", "'EVALHUB_PYTHON': 'python3'")
class NamesAnotherInterpreter(PlainRuntime):
    def variables(self, run: BenchmarkRun) -> dict[str, str]:
        return {**super().variables(run), "EVALHUB_PYTHON": "python3"}


@breaks("the_job_specification_is_private", "all users of the host can read job.json")
class WritesForEveryone(PlainRuntime):
    async def check(self) -> None:
        await super().check()
        self.base.chmod(0o755)


@breaks("the_job_specification_arrives_complete", "an adapter that reads what it gets has failed")
class WritesTheSpecificationLate(PlainRuntime):
    async def launch(self, run: BenchmarkRun) -> Handle:
        handle = await super().launch(run)
        file = self.folder_of(handle) / "job.json"
        data = file.read_bytes()
        file.write_bytes(b"")
        while self.leader(self.folder_of(handle)):
            await asyncio.sleep(0.02)
        file.write_bytes(data)
        return handle


@breaks("variables_name_the_places_of_samples", "paths of samples and artifacts")
class NamesNoPlacesOfSamples(PlainRuntime):
    def places(self, folder: Path) -> dict[str, str]:
        return {}


@breaks("variables_name_the_places_of_samples", "places of samples and artifacts before the start")
class CreatesAnEmptyFileOfSamples(PlainRuntime):
    def start(self, run: BenchmarkRun, folder: Path, script: str) -> None:
        folder.mkdir(parents=True)
        (folder / "samples").touch()
        super().start(run, folder, script)


@breaks("earlier_samples_are_a_copy", "has changed the server's own file of samples")
class HandsOverTheServersFile(PlainRuntime):
    def variables(self, run: BenchmarkRun) -> dict[str, str]:
        return {**super().variables(run), "EVALHUB_PREVIOUS_SAMPLES_PATH": str(run.previous_samples or "")}


@breaks("test_data_of_this_host_arrive", "has failed")
class IgnoresTestData(PlainRuntime):
    takes_test_data_paths = True


@breaks(STATUSES, "exits by the status of the process: {128")
class StatusModulo128(PlainRuntime):
    def recorded_exit(self, folder: Path) -> Exit | None:
        exit_ = super().recorded_exit(folder)
        return Exit(code=exit_.code % 128) if exit_ and exit_.code is not None else exit_


@breaks(STATUSES, "exits by the status of the process: {200")
class HighStatusesAreSignals(PlainRuntime):
    def recorded_exit(self, folder: Path) -> Exit | None:
        exit_ = super().recorded_exit(folder)
        return Exit(signal=f"SIG{exit_.code - 128}") if exit_ and (exit_.code or 0) > 128 else exit_


@breaks(STATUSES, "exits by the status of the process: {127")
class CommandsThatAreNotFoundAreLost(PlainRuntime):
    def recorded_exit(self, folder: Path) -> Exit | None:
        exit_ = super().recorded_exit(folder)
        return Exit(lost=True) if exit_ and exit_.code == 127 else exit_


@breaks("a_workload_that_is_gone_without_a_trace_has_ended", LATE, deadline_s=3.0)
class WaitsForARecordedExit(PlainRuntime):
    async def wait(self, handle: Handle) -> Exit:
        folder = self.folder_of(handle)
        while folder.exists() and self.recorded_exit(folder) is None:
            await asyncio.sleep(0.02)
        return await super().wait(handle)


@breaks(
    "a_workload_that_is_gone_without_a_trace_has_ended",
    "exit of a workload of which all processes were killed",
)
class LostIsSuccess(PlainRuntime):
    async def wait(self, handle: Handle) -> Exit:
        exit_ = await super().wait(handle)
        return Exit(code=0) if exit_.lost and self.folder_of(handle).exists() else exit_


@breaks("the_output_is_complete_when_the_workload_has_ended", "lines of the log when wait() has returned")
class CollectsOutputLater(PlainRuntime):
    """Shows only what was there a moment ago, like a copy that runs behind."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.seen: dict[Path, tuple[float, int]] = {}

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        log = self.folder_of(handle) / "log"
        if log not in self.seen and log.exists():
            self.seen[log] = time.monotonic(), log.stat().st_size // 2
        since, size = self.seen.get(log, (0.0, 0))
        async for chunk in super().logs(handle, options):
            yield chunk if time.monotonic() - since > 0.3 else chunk[:size]


@breaks("the_output_is_complete_when_the_workload_has_ended", "3000, the last one")
class KeepsTheFirstKilobytes(PlainRuntime):
    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        async for chunk in super().logs(handle, options):
            yield chunk[:8192]


@breaks(STOPS, "while the workload was alive, by concurrent call")
class OneStopAtATime(PlainRuntime):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.stopping: set[Path] = set()

    async def stop(self, handle: Handle, grace_s: float) -> None:
        folder = self.folder_of(handle)
        if folder in self.stopping:
            return
        self.stopping.add(folder)
        try:
            await super().stop(handle, grace_s)
        finally:
            self.stopping.discard(folder)


@breaks(AGAIN, "alive after a stop that followed one that was cancelled")
class StopsOnce(PlainRuntime):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.stopped: set[Path] = set()

    async def stop(self, handle: Handle, grace_s: float) -> None:
        if self.folder_of(handle) not in self.stopped:
            self.stopped.add(self.folder_of(handle))
            await super().stop(handle, grace_s)


@breaks(AGAIN, LATE, deadline_s=3.0)
class KeepsTheFirstGrace(PlainRuntime):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.graces: dict[Path, float] = {}

    async def stop(self, handle: Handle, grace_s: float) -> None:
        await super().stop(handle, self.graces.setdefault(self.folder_of(handle), grace_s))


@breaks("a_cancelled_wait_leaves_the_workload_alone", "a wait beside one that was cancelled")
class WaitsInOneTask(PlainRuntime):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.waiting: dict[Path, asyncio.Task[Exit]] = {}

    async def wait(self, handle: Handle) -> Exit:
        folder = self.folder_of(handle)
        if folder not in self.waiting or self.waiting[folder].done():
            self.waiting[folder] = asyncio.create_task(super().wait(handle))
        return await self.waiting[folder]


@breaks("a_refused_launch_leaves_nothing", "a launch that was refused has left")
class RefusedLaunchLeavesADirectory(PlainRuntime):
    async def launch(self, run: BenchmarkRun) -> Handle:
        if not (run.config or {}).get("script"):
            self.folder(*run.key).mkdir(parents=True)
        return await super().launch(run)


@breaks("a_refused_launch_leaves_nothing", "LaunchError has no text")
class RefusesWithoutAText(PlainRuntime):
    def script(self, run: BenchmarkRun) -> str:
        try:
            return super().script(run)
        except LaunchError:
            raise LaunchError("") from None


@breaks("nothing_is_left_of_a_removed_job", "remove() must return a sentence or None")
class RemoveReturnsTrue(PlainRuntime):
    async def remove(self, job_id: str, tenant: str) -> str | None:
        await super().remove(job_id, tenant)
        return True  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  the fault


@breaks("it_can_be_closed_before_it_was_checked", "AttributeError")
class ClosesWhatCheckOpened(PlainRuntime):
    async def check(self) -> None:
        await super().check()
        self.opened = True

    async def close(self) -> None:
        self.opened = not self.opened


@breaks("the_offset_of_the_last_lines_is_where_they_begin", "log_offset by number of lines")
class OffsetOfNoLinesIsTheStart(PlainRuntime):
    async def log_offset(self, handle: Handle, tail_lines: int) -> int:
        return await super().log_offset(handle, tail_lines) if tail_lines else 0


@breaks("stop_lets_a_workload_react_to_sigterm", "did not send SIGTERM")
class InterruptsInstead(PlainRuntime):
    def send(self, pids: set[int] | list[int], number: int) -> None:
        super().send(pids, signal.SIGHUP if number == signal.SIGTERM else number)


@breaks("stopping_one_benchmark_leaves_the_others_of_its_job", "another benchmark of the job was stopped")
class StopsTheJob(PlainRuntime):
    def members(self, folder: Path) -> list[int]:
        return [pid for each in folder.parent.glob("*") for pid in PlainRuntime.members(self, each)]


@breaks("stop_lets_a_workload_react_to_sigterm", "the log of a running workload has", deadline_s=3.0)
class LogAppearsAtTheEnd(PlainRuntime):
    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        if not self.leader(self.folder_of(handle)):
            async for chunk in super().logs(handle, options):
                yield chunk


@breaks("another_attempt_is_another_workload", "logs of two attempts")
class AttemptsShareTheirLog(PlainRuntime):
    def files(self, folder: Path) -> list[tuple[object, ...]]:
        shared = folder.with_name(folder.name.partition("-")[0])
        shared.mkdir(exist_ok=True)
        (folder / "log").symlink_to(shared / "log")
        return super().files(folder)


@breaks("workloads_of_a_killed_server_are_found_by_the_next_one", "find() after the server")
class HandleOfTheProcess(PlainRuntime):
    def handle(self, run: BenchmarkRun) -> Handle:
        return {**super().handle(run), "server": os.getpid()}


@breaks("the_job_specification_arrives_complete", "'parameters'")
class SpecificationWithoutParameters(PlainRuntime):
    def job_spec(self, run: BenchmarkRun, folder: Path) -> JobSpec:
        spec = super().job_spec(run, folder)
        return msgspec.structs.replace(spec, parameters={})


class RuntimeProcessCase(PlainCase):
    """In this module, so that another process finds the classes."""


globals().update(RUNTIME_PROCESSES.cases(RuntimeProcessCase))
