"""What the tests of runtimes share: flags, workloads, a runtime for each test, and the end of all that tests launch."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import pytest_asyncio

from evalhub_server.domain.record import Exit
from evalhub_server.models.common import Json
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, LogOptions, Runtime
from evalhub_server.testing.contract import Contract
from evalhub_server.testing.processes import kill, processes_of

SHOW_INPUT = """
import json, os
with open(os.environ["EVALHUB_JOB_SPEC_PATH"], encoding="utf-8") as file:
    print(json.dumps([dict(os.environ), json.load(file)]))
"""
SCANS = 10
"""How often processes of a failed test are killed: one can start another while it is looked for."""
RUN_UNTIL_STOPPED = "trap '' TERM; while :; do sleep 60; done"


class AdapterInput(NamedTuple):
    """What an adapter gets: its environment, and the content of ``job.json``."""

    environment: Mapping[str, str]
    job_spec: Json


def as_stored(handle: Handle) -> Handle:
    """Return the handle as a storage returns it."""
    return msgspec.json.decode(msgspec.json.encode(handle))


def retried(run: BenchmarkRun) -> BenchmarkRun:
    """Return the next attempt of the same benchmark."""
    return msgspec.structs.replace(run, attempt=run.attempt + 1)


def beside(first: BenchmarkRun, other: BenchmarkRun) -> BenchmarkRun:
    """Return ``other`` as the second benchmark of the job of ``first``."""
    spec = msgspec.structs.replace(other.spec, id=first.spec.id, benchmark_index=1, benchmark_id="bench-1")
    return msgspec.structs.replace(other, spec=spec)


def python(source: str) -> str:
    """Return a shell command that runs Python source."""
    return shlex.join([sys.executable, "-I", "-S", "-c", source])


@pytest.mark.asyncio
class RuntimeCase(Contract):
    """A base class of ``RuntimeContract``."""

    grace_s = 0.2
    """Grace period of ``stop`` for a workload that does not end by itself, in seconds."""

    survives_restart = True
    """False for a runtime whose workloads end with the server."""

    starts_processes = True
    """False for a runtime whose adapters are no processes of this host; then :meth:`runs_script` is not needed."""

    gives_input = True
    """False for a runtime without ``job.json`` and environment variables, whose adapters are functions."""

    environment: Mapping[str, str] = {"CONTRACT_TEXT": "two words, a 'quote', $HOME and å"}
    """Variables of trackers that must arrive, for a runtime that selects among them."""

    secrets = frozenset({"CONTRACT_SECRET"})
    """Variables of the server that adapters must not inherit; :meth:`make_runtime` passes them on like
    :attr:`PluginContext.secrets`."""

    tenants = ("team-a", "team-b")
    """Two tenants whose jobs it can run."""

    def make_runtime(self, directory: Path) -> Runtime:
        """Return a runtime whose state is in ``directory``. A second call stands for a restart of the server."""
        raise NotImplementedError("return the runtime, or override the fixture 'runtime'")

    def runs_script(self, script: str) -> BenchmarkRun:
        """Return a workload that runs a script with the POSIX shell of this host and ends with its exit status.

        The workloads below are such scripts by default.
        """
        raise NotImplementedError(
            "return a run, or set starts_processes = False and define the other workloads"
        )

    def succeeds(self) -> BenchmarkRun:
        """Return a workload that ends immediately with exit status 0 and prints nothing."""
        return self.runs_script("exit 0")

    def fails_with_3(self) -> BenchmarkRun:
        """Return a workload that ends immediately with exit status 3."""
        return self.runs_script("exit 3")

    def runs_until_stopped(self) -> BenchmarkRun:
        """Return a workload that does not end and, where there are signals, ignores SIGTERM."""
        return self.runs_script(RUN_UNTIL_STOPPED)

    def prints(self, text: str) -> BenchmarkRun:
        """Return a workload that writes ``text`` and a newline to its log, once, and ends with exit status 0."""
        return self.runs_script(f"printf '%s\\n' {shlex.quote(text)}")

    def cannot_start(self) -> BenchmarkRun:
        """Return a run that ``launch`` must refuse, such as one with an invalid configuration."""
        raise NotImplementedError("return a run with an invalid configuration")

    async def input_of(self, runtime: Runtime, run: BenchmarkRun) -> AdapterInput:
        """Launch a run, and return what its adapter gets. The default is for ``starts_processes``."""
        text = await self.printed_by(runtime, run, SHOW_INPUT)
        environment, job_spec = msgspec.json.decode(text)
        return AdapterInput(environment, job_spec)

    async def printed_by(self, runtime: Runtime, run: BenchmarkRun, source: str) -> str:
        """Launch a run whose adapter is Python source, and return what it prints."""
        config = self.runs_script(python(source)).config
        handle, exit_ = await self.ended(runtime, msgspec.structs.replace(run, config=config))
        text = await self.log_of(runtime, handle)
        assert exit_.code == 0, f"an adapter that reads what it gets has failed: {text}"
        return text

    @pytest_asyncio.fixture
    async def runtime(self, tmp_path: Path) -> AsyncGenerator[Runtime]:
        async with self.opened(self.make_runtime(tmp_path), tmp_path) as runtime:
            yield runtime

    @asynccontextmanager
    async def opened(
        self, runtime: Runtime, directory: Path, runs: Iterable[BenchmarkRun] = ()
    ) -> AsyncGenerator[Runtime]:
        """Check a runtime, and at the end stop what it has launched and ``runs``, whatever has failed, and close it.

        Fails if a process of a workload is left.
        """
        await self.soon(runtime.check())
        launched = {run.key: run for run in runs}
        stopped: list[Handle] = []
        launch, stop = runtime.launch, runtime.stop

        @wraps(launch)
        async def recorded_launch(run: BenchmarkRun) -> Handle:
            launched[run.key] = run
            return await launch(run)

        @wraps(stop)
        async def recorded_stop(handle: Handle, grace_s: float) -> None:
            await stop(handle, grace_s)
            stopped.append(handle)

        runtime.launch, runtime.stop = recorded_launch, recorded_stop
        try:
            yield runtime
        finally:
            runtime.launch, runtime.stop = launch, stop
            for run in launched.values():
                await self.quietly_stopped(runtime, run, stopped)
            words = {str(directory), *(run.spec.id for run in launched.values())}
            left: dict[int, str] = {}
            for _ in range(SCANS):
                found = processes_of(words) if self.starts_processes and launched else {}
                if not found:
                    break
                left |= found
                for pid in found:
                    kill(pid)
            await self.soon(runtime.close())
        assert not left, f"processes of workloads are alive after stop(): {left}"

    async def quietly_stopped(
        self, runtime: Runtime, run: BenchmarkRun, stopped: Sequence[Handle] = ()
    ) -> None:
        """Stop a workload in a runtime that may not be able to, unless it is one of those that are ``stopped``."""

        async def stop() -> None:
            handle = await runtime.find(run)
            if handle is not None and handle not in stopped:
                await runtime.stop(handle, 0.0)

        task = asyncio.ensure_future(stop())
        await asyncio.wait([task], timeout=self.deadline_s)
        task.cancel()
        await asyncio.wait([task], timeout=1.0)
        if task.done() and not task.cancelled():
            task.exception()  # the test itself reports faults of stop()

    async def ended(self, runtime: Runtime, run: BenchmarkRun) -> tuple[Handle, Exit]:
        """Launch, wait and stop, as the core does."""
        handle = await self.soon(runtime.launch(run))
        exit_ = await self.soon(runtime.wait(handle))
        await self.soon(runtime.stop(handle, self.grace_s))
        return handle, exit_

    async def log_of(self, runtime: Runtime, handle: Handle, tail_lines: int = -1) -> str:
        return (await self.log_bytes(runtime, handle, tail_lines)).decode()

    async def log_bytes(self, runtime: Runtime, handle: Handle, tail_lines: int = -1) -> bytes:
        async def logs() -> bytes:
            options = LogOptions(tail_lines=tail_lines)
            return b"".join([chunk async for chunk in runtime.logs(handle, options)])

        return await self.soon(logs())

    async def printed(self, runtime: Runtime, handle: Handle, text: str) -> str:
        """Wait until the log contains the text; return the log."""

        async def log() -> str:
            now = await self.log_of(runtime, handle)
            return now if text in now else ""

        return await self.until(log, f"the log of a running workload has {text!r}")
