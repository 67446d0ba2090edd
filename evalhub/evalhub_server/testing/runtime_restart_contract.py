"""Contract tests for workloads that outlive their server; a part of ``RuntimeContract``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from evalhub_server.plugins.runtime import Handle, Runtime
from evalhub_server.testing.contract import takes_seconds
from evalhub_server.testing.other_process import other_process
from evalhub_server.testing.runtime_case import RuntimeCase, as_stored


@pytest.mark.asyncio
class RuntimeRestartContract(RuntimeCase):
    """A base class of ``RuntimeContract``, for runtimes with ``survives_restart``."""

    async def test_a_workload_outlives_its_server(self, runtime: Runtime, tmp_path: Path) -> None:
        if not self.survives_restart:
            pytest.skip("survives_restart = False")
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
            pytest.skip("survives_restart = False")
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

    @takes_seconds
    async def test_workloads_of_a_killed_server_are_found_by_the_next_one(self, tmp_path: Path) -> None:
        if not self.survives_restart:
            pytest.skip("survives_restart = False")
        directory = tmp_path / "killed"
        directory.mkdir()
        runs = [self.fails_with_3(), self.prints("of a killed server"), self.runs_until_stopped()]
        async with self.opened(self.make_runtime(directory), directory, runs) as runtime:
            with other_process(self, directory, "launch", msgspec.json.encode(runs)) as process:
                line = await self.soon(asyncio.to_thread(process.output.readline))
                assert line, "the other process failed; see its error above"
                handles = msgspec.json.decode(line, type=list[Handle])
            found = [await self.soon(runtime.find(run)) for run in runs]
            assert found == handles, "find() after the server that had launched the workloads was killed"
            waiting = asyncio.create_task(runtime.wait(handles[2]))
            exits = [await self.soon(runtime.wait(handle)) for handle in handles[:2]]
            assert [exit_.code for exit_ in exits] == [3, 0], (
                f"exits of workloads of a killed server: {exits}"
            )
            log = await self.log_of(runtime, handles[1])
            assert log == "of a killed server\n", f"log of a workload of a killed server: {log!r}"
            assert await self.soon(runtime.launch(runs[1])) == handles[1], "a repeated launch starts nothing"
            assert not waiting.done(), f"a running workload of a killed server: {waiting}"
            for handle in handles:
                await self.soon(runtime.stop(handle, self.grace_s))
            exit_ = await self.soon(waiting)
            assert exit_.code != 0, f"exit of a stopped workload of a killed server: {exit_}"
