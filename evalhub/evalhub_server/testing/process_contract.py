"""Contract tests for what runtimes do with the processes of adapters; a part of ``RuntimeContract``."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal

import pytest

from evalhub_server.plugins.runtime import BenchmarkRun, Handle, Runtime
from evalhub_server.testing.loop_watch import LoopWatch
from evalhub_server.testing.processes import is_alive, kill, processes_of
from evalhub_server.testing.runtime_case import RUN_UNTIL_STOPPED, SCANS, RuntimeCase, python

OWN_SESSION = """
import os, sys
os.setsid()
os.execvp("sh", ["sh", "-c", sys.argv[1]])
"""


def _print_pid(kind: str) -> str:
    return f'echo "{kind}: $$"; {RUN_UNTIL_STOPPED}'


def _in_own_session(kind: str) -> str:
    return f"{python(OWN_SESSION)} {shlex.quote(_print_pid(kind))}"


DESCENDANTS = {
    "child": f"sh -c {shlex.quote(_print_pid('child'))} &",
    "child in a session of its own": f"{_in_own_session('child in a session of its own')} &",
    "orphan": f"(sh -c {shlex.quote(_print_pid('orphan'))} &)",
    "orphan in a session of its own": f"({_in_own_session('orphan in a session of its own')} &)",
}
"""Scripts that start a process which ignores SIGTERM and prints its kind and its id."""

REACTS = "trap 'sleep 0.2; echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
"""Ends some time after SIGTERM, with a last line in its log."""


IGNORES = f"trap '' TERM; echo ready; {RUN_UNTIL_STOPPED}"
"""Ignores SIGTERM from its output on."""


@pytest.mark.asyncio
class ProcessContract(RuntimeCase):
    """A base class of ``RuntimeContract``, for runtimes with ``starts_processes``."""

    def a_process(self, script: str) -> BenchmarkRun:
        if not self.starts_processes:
            pytest.skip("starts_processes = False")
        return self.runs_script(script)

    # --- stop

    async def printed_pids(self, runtime: Runtime, handle: Handle, kinds: set[str]) -> dict[str, int]:
        """Wait until the workload has printed the ids of its processes."""

        async def pids() -> dict[str, int]:
            lines = [line.split(": ") for line in (await self.log_of(runtime, handle)).splitlines()]
            found = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[0] in kinds}
            return found if found.keys() == kinds else {}

        return await self.until(pids, f"the log of a running workload has the process ids of {kinds}")

    async def check_ended(self, pids: dict[str, int], what: str) -> None:
        """Fail if a process is alive; kill those that are."""
        alive = {kind: pid for kind, pid in pids.items() if is_alive(pid)}
        for pid in alive.values():
            kill(pid)
        assert not alive, f"{what}: stop() returned and left alive, by process id: {alive}"

    async def test_stop_ends_all_descendants_of_a_running_workload(self, runtime: Runtime) -> None:
        script = "\n".join([*DESCENDANTS.values(), _print_pid("workload")])
        handle = await self.soon(runtime.launch(self.a_process(script)))
        pids = await self.printed_pids(runtime, handle, {*DESCENDANTS, "workload"})
        await self.soon(runtime.stop(handle, self.grace_s))
        await self.check_ended(pids, "a running workload")

    async def test_stop_ends_all_descendants_of_an_ended_workload(self, runtime: Runtime) -> None:
        run = self.a_process("\n".join(DESCENDANTS.values()))
        handle = await self.soon(runtime.launch(run))
        exit_ = await self.soon(runtime.wait(handle))
        pids = await self.printed_pids(runtime, handle, set(DESCENDANTS))
        await self.soon(runtime.stop(handle, self.grace_s))
        await self.check_ended(pids, "an ended workload")
        assert exit_.code == 0, f"exit of a workload that leaves descendants: {exit_}"

    async def test_stop_lets_a_workload_react_to_sigterm(self, runtime: Runtime) -> None:
        """It requests the end, waits for it, and no longer than necessary."""
        handle = await self.soon(runtime.launch(self.a_process(REACTS)))
        await self.printed(runtime, handle, "ready\n")
        await self.soon(runtime.stop(handle, 20 * self.deadline_s))
        log = await self.log_of(runtime, handle)
        assert log.endswith("bye\n"), (
            f"stop() did not send SIGTERM, or killed before the grace was over: {log!r}"
        )
        exit_ = await self.soon(runtime.wait(handle))
        assert exit_.code == 7, f"exit of a workload that ends after SIGTERM with status 7: {exit_}"

    async def test_stop_kills_a_workload_that_ignores_sigterm(self, runtime: Runtime) -> None:
        handle = await self.soon(runtime.launch(self.a_process(IGNORES)))
        await self.printed(runtime, handle, "ready\n")
        await self.soon(runtime.stop(handle, self.grace_s))
        exit_ = await self.soon(runtime.wait(handle))
        assert exit_.code != 0, f"exit of a workload that was killed: {exit_}"

    async def a_process_that_ignores_sigterm(self, runtime: Runtime) -> tuple[Handle, int]:
        """Return a running workload and the id of its process."""
        handle = await self.soon(
            runtime.launch(self.a_process(f"trap '' TERM; echo $$; {RUN_UNTIL_STOPPED}"))
        )
        return handle, int(await self.printed(runtime, handle, "\n"))

    async def test_each_of_several_stops_returns_after_the_end(self, runtime: Runtime) -> None:
        """After a change of the leading server, two servers may stop the same workload."""
        handle, pid = await self.a_process_that_ignores_sigterm(runtime)

        async def alive_after_stop() -> bool:
            await self.soon(runtime.stop(handle, self.grace_s))
            return is_alive(pid)

        alive = await asyncio.gather(*(alive_after_stop() for _ in range(3)))
        assert not any(alive), f"stop() returned while the workload was alive, by concurrent call: {alive}"

    async def test_a_cancelled_stop_can_be_repeated_with_a_shorter_grace(self, runtime: Runtime) -> None:
        for turns in (1, 20):
            handle, pid = await self.a_process_that_ignores_sigterm(runtime)
            await self.cancelled_after(runtime.stop(handle, 20 * self.deadline_s), turns)
            await self.soon(runtime.stop(handle, self.grace_s))
            assert not is_alive(pid), (
                f"alive after a stop that followed one that was cancelled after {turns} turns"
            )

    async def test_stop_does_not_block_the_event_loop(self, runtime: Runtime) -> None:
        handle = await self.soon(runtime.launch(self.a_process(IGNORES)))
        await self.printed(runtime, handle, "ready\n")
        with LoopWatch(self.blocked_s / 2, self.deadline_s) as watch:
            await self.soon(runtime.stop(handle, 0.8 * self.blocked_s))
        assert not watch.report, watch.report

    # --- exits

    async def test_the_signal_that_ended_a_workload_is_reported(self, runtime: Runtime) -> None:
        _, exit_ = await self.ended(runtime, self.a_process("kill -KILL $$"))
        found = exit_.code, exit_.signal, exit_.lost
        assert found == (None, "SIGKILL", False), f"exit of a workload that a signal ended: {exit_}"

    async def test_a_workload_that_is_killed_from_outside_has_ended(self, runtime: Runtime) -> None:
        handle = await self.soon(runtime.launch(self.a_process(f"echo $$; {RUN_UNTIL_STOPPED}")))
        pid = int(await self.printed(runtime, handle, "\n"))
        waiting = asyncio.ensure_future(self.soon(runtime.wait(handle)))
        os.kill(pid, signal.SIGKILL)
        exit_ = await waiting
        assert exit_.code != 0, f"exit of a workload that another program killed: {exit_}"

    async def test_every_exit_status_is_reported(self, runtime: Runtime) -> None:
        statuses = (1, 126, 127, 128, 200, 255)
        ended = await asyncio.gather(
            *(self.ended(runtime, self.a_process(f"exit {each}")) for each in statuses)
        )
        found = {status: exit_ for status, (_, exit_) in zip(statuses, ended, strict=True)}
        differing = {
            status: exit_ for status, exit_ in found.items() if (exit_.code, exit_.signal) != (status, "")
        }
        assert not differing, f"exits by the status of the process: {differing}"

    async def test_a_workload_that_is_gone_without_a_trace_has_ended(self, runtime: Runtime) -> None:
        run = self.a_process(IGNORES)
        handle = await self.soon(runtime.launch(run))
        await self.printed(runtime, handle, "ready\n")
        waiting = asyncio.ensure_future(self.soon(runtime.wait(handle)))
        for _ in range(SCANS):
            for pid in (found := processes_of([run.spec.id])):
                kill(pid)
            if not found:
                break
        exit_ = await waiting
        assert exit_.code != 0, f"exit of a workload of which all processes were killed: {exit_}"
        assert await self.soon(runtime.wait(handle)) == exit_, "a second wait"

    # --- input and output

    async def test_the_output_is_complete_when_the_workload_has_ended(self, runtime: Runtime) -> None:
        script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
        handle = await self.soon(runtime.launch(self.a_process(script)))
        await self.soon(runtime.wait(handle))
        lines = (await self.log_of(runtime, handle)).splitlines()
        assert (len(lines), lines[-1:]) == (3000, ["line 2999"]), (
            f"lines of the log when wait() has returned: {len(lines)} of 3000, the last one {lines[-1:]}"
        )

    async def test_both_outputs_are_in_the_log_unchanged(self, runtime: Runtime) -> None:
        script = r"printf 'out\r\n\377\000'; printf 'err' >&2"
        handle, _ = await self.ended(runtime, self.a_process(script))
        found = await self.log_bytes(runtime, handle)
        assert found == b"out\r\n\xff\x00err", f"log of {script!r}: {found!r}"

    async def test_an_adapter_does_not_wait_for_input(self, runtime: Runtime) -> None:
        handle, exit_ = await self.ended(runtime, self.a_process("read line; echo got $line"))
        assert exit_.code == 0, f"exit of a workload that reads its standard input: {exit_}"
        assert await self.log_of(runtime, handle) == "got\n", "standard input must be empty"

    async def test_samples_and_artifacts_are_handed_over(self, runtime: Runtime) -> None:
        if not runtime.hands_over_samples:
            pytest.skip("hands_over_samples = False")
        run = self.a_process(
            python(
                "import json, os\n"
                'spec = json.load(open(os.environ["EVALHUB_JOB_SPEC_PATH"]))\n'
                'open(spec["samples_path"], "w").write("{}\\n")\n'
                'open(os.path.join(spec["artifacts_path"], "plot.svg"), "w").write("<svg/>")\n'
            )
        )
        handle, exit_ = await self.ended(runtime, run)
        assert exit_.code == 0, f"samples_path, artifacts_path: {await self.log_of(runtime, handle)}"
        files = await self.soon(runtime.sample_files(handle))
        assert files is not None, "sample_files() is None, but the adapter has written samples on this host"
        found = files.samples.read_text("utf-8"), (files.artifacts / "plot.svg").read_text("utf-8")
        assert found == ("{}\n", "<svg/>"), f"samples and an artifact at {files}: {found}"
