"""A server that is killed, and the next one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from evalhub_runtime_local.attempt_files import Attempt, write_private
from evalhub_runtime_local.paths import create_own
from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_runtime_local.shim import Launch, Shim
from evalhub_server.domain.record import Exit
from evalhub_server.plugins import BenchmarkRun, Handle
from evalhub_server.testing.runs import a_run

pytestmark = pytest.mark.asyncio

Eventually = Callable[[Callable[[], object], str], Awaitable[object]]
STAND_IN = Path(__file__).with_name("server_stand_in.py")


def stand_in(action: str, jobs: Path, run: BenchmarkRun) -> list[str]:
    return [sys.executable, str(STAND_IN), action, str(jobs), msgspec.json.encode(run).decode()]


def log_text(handle: Handle) -> str:
    return Path(handle["dir"], "jobrun.log").read_text()


def ended(jobs: Path) -> bool:
    """Is the exit status of the only attempt recorded?"""
    return any(len(path.read_text().splitlines()) == 2 for path in jobs.rglob("attempt-1.pid"))


async def launched_by_a_killed_server(jobs: Path, run: BenchmarkRun) -> Handle:
    def launch() -> Handle:
        with subprocess.Popen(stand_in("launch", jobs, run), stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                return next(
                    msgspec.json.decode(line.removeprefix("handle "))
                    for line in server.stdout
                    if line.startswith("handle ")
                )
            finally:
                server.kill()

    return await asyncio.to_thread(launch)


async def spawned_by_a_crashing_server(jobs: Path, run: BenchmarkRun) -> int:
    done = await asyncio.to_thread(
        subprocess.run, stand_in("crash", jobs, run), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return int(done.stdout)


async def test_a_running_workload_is_watched_and_stopped(runtime: LocalRuntime, jobs: Path) -> None:
    handle = await launched_by_a_killed_server(jobs, a_run({"command": "sleep 600"}))
    waiting = asyncio.create_task(runtime.wait(handle))
    await asyncio.sleep(0)
    assert not waiting.done()
    await runtime.stop(handle, 30)
    assert (await waiting).signal == "SIGTERM"


async def test_a_stubborn_workload_is_stopped(runtime: LocalRuntime, jobs: Path) -> None:
    command = "trap '' TERM; setsid sleep 600 & while :; do sleep 60; done"
    handle = await launched_by_a_killed_server(jobs, a_run({"command": command}))
    await runtime.stop(handle, 0.1)
    assert (await runtime.wait(handle)).code != 0


@pytest.mark.parametrize("pidfd", [True, False])
async def test_an_end_is_noticed_although_it_is_no_child(
    new_runtime: Callable[..., LocalRuntime], jobs: Path, tmp_path: Path, pidfd: bool
) -> None:
    runtime = new_runtime(pidfd=pidfd)
    command = f"while [ ! -e '{tmp_path}/go' ]; do sleep 0.01; done; exit 5"
    handle = await launched_by_a_killed_server(jobs, a_run({"command": command}))
    waiting = asyncio.create_task(runtime.wait(handle))
    await asyncio.sleep(0)
    (tmp_path / "go").touch()
    async with asyncio.timeout(60):
        assert await waiting == Exit(code=5)
    await runtime.stop(handle, 1)
    await runtime.close()


async def test_an_end_in_between_is_known(
    runtime: LocalRuntime, jobs: Path, tmp_path: Path, eventually: Eventually
) -> None:
    command = f"while [ ! -e '{tmp_path}/go' ]; do sleep 0.01; done; exit 5"
    handle = await launched_by_a_killed_server(jobs, a_run({"command": command}))
    (tmp_path / "go").touch()
    await eventually(lambda: ended(jobs), "it has ended")
    assert await runtime.wait(handle) == Exit(code=5)
    await runtime.stop(handle, 1)


async def test_a_workload_that_sigterm_ended_in_between_was_interrupted(
    runtime: LocalRuntime, jobs: Path, eventually: Eventually
) -> None:
    handle = await launched_by_a_killed_server(jobs, a_run({"command": "echo ready; exec sleep 600"}))
    await eventually(lambda: "ready" in log_text(handle), "the command's start")
    os.killpg(handle["pid"], signal.SIGTERM)
    await eventually(lambda: ended(jobs), "it has ended")
    assert await runtime.wait(handle) == Exit(signal="SIGTERM", reason="interrupted")
    await runtime.stop(handle, 1)


@pytest.mark.parametrize("boot", ["another-boot 1", "another-boot"])
async def test_a_workload_that_a_reboot_ended_was_interrupted(
    runtime: LocalRuntime, jobs: Path, boot: str
) -> None:
    handle = await launched_by_a_killed_server(jobs, a_run({"command": "exec sleep 600"}))
    exit_ = await runtime.wait(handle | {"boot_id": boot})
    assert (exit_.lost, exit_.reason) == (True, "interrupted")
    await runtime.stop(handle, 1)


async def test_workloads_that_a_reboot_ended_have_each_their_own_exit(runtime: LocalRuntime) -> None:
    handles: list[Handle] = []
    for code in (3, 4):
        handle = await runtime.launch(a_run({"command": f"exit {code}"}, id=f"job-{code}"))
        await runtime.wait(handle)
        await runtime.stop(handle, 1)
        handles.append(handle | {"boot_id": "another-boot"})
    exits = await asyncio.gather(*map(runtime.wait, handles))
    assert exits == [Exit(code=3), Exit(code=4)]
    for handle in handles:
        await runtime.stop(handle, 1)


async def test_a_workload_of_an_earlier_container_on_the_same_host_was_interrupted(
    runtime: LocalRuntime, jobs: Path
) -> None:
    handle = await launched_by_a_killed_server(jobs, a_run({"command": "exec sleep 600"}))
    boot, _, start = handle["boot_id"].partition(" ")
    assert int(start) >= 0
    exit_ = await runtime.wait(handle | {"boot_id": f"{boot} {int(start) + 1}"})
    assert exit_.reason == "interrupted"
    await runtime.stop(handle | {"boot_id": boot}, 1)  # as recorded by an earlier version of the server
    assert (await runtime.wait(handle)).signal == "SIGTERM"


async def test_an_end_without_a_trace_is_lost(
    new_runtime: Callable[..., LocalRuntime], jobs: Path, eventually: Eventually
) -> None:
    runtime = (
        new_runtime()
    )  # not checked, so no subreaper: the workload of the killed server is not our child
    handle = await launched_by_a_killed_server(jobs, a_run({"command": "sleep 600; exit 1"}))
    for pid in (psutil.Process(handle["pid"]).ppid(), handle["pid"]):
        os.kill(pid, signal.SIGKILL)
    exit_ = await runtime.wait(handle)
    await runtime.stop(handle, 1)
    assert exit_.lost
    assert exit_.message


async def test_a_launch_that_a_crash_hid_is_found_while_it_runs(runtime: LocalRuntime, jobs: Path) -> None:
    run = a_run({"command": "echo once; sleep 600"})
    pid = await spawned_by_a_crashing_server(jobs, run)
    found = await runtime.find(run)
    handle = await runtime.launch(run)
    assert found == handle
    assert handle["pid"] == pid
    waiting = asyncio.create_task(runtime.wait(handle))
    await asyncio.sleep(0)
    await runtime.stop(handle, 30)
    assert (await waiting).signal == "SIGTERM"


async def test_a_launch_that_a_crash_hid_is_found_when_it_has_ended(
    runtime: LocalRuntime, jobs: Path, eventually: Eventually
) -> None:
    run = a_run({"command": "echo once; exit 4"})
    pid = await spawned_by_a_crashing_server(jobs, run)
    await eventually(lambda: ended(jobs), "it has ended")
    handle = await runtime.launch(run)
    assert handle["pid"] == pid
    assert await runtime.wait(handle) == Exit(code=4)
    await runtime.stop(handle, 1)
    assert log_text(handle) == "once\n"


async def test_a_crash_before_the_spawn_does_not_prevent_the_launch(
    runtime: LocalRuntime, jobs: Path
) -> None:
    run = a_run({"command": "exit 0"})
    (jobs / run.spec.id / "0" / "provider-a" / "bench-0" / "meta").mkdir(parents=True)
    assert await runtime.find(run) is None
    handle = await runtime.launch(run)
    assert await runtime.wait(handle) == Exit(code=0)
    await runtime.stop(handle, 1)


async def test_of_several_starts_of_one_attempt_one_runs_the_command(tmp_path: Path) -> None:
    """The last guard, also between the shim of a killed server and that of the next one."""
    attempt = Attempt(directory=str(tmp_path), number=1)
    create_own(attempt.meta)
    os.close(attempt.open_log())
    arguments = ("sh", "-c", f"echo ran >> '{tmp_path}/ran'; exit 3")
    launch = Launch("/bin/sh", arguments, {}, "", attempt.log, attempt.pid_file)
    shims = [Shim() for _ in range(5)]
    started = await asyncio.gather(*(shim.start(launch) for shim in shims), return_exceptions=True)
    (pid,) = [each for each in started if isinstance(each, int)]
    assert [type(each) for each in started].count(FileExistsError) == 4
    exited = shims[started.index(pid)].exit_of(pid)
    assert exited is not None
    assert await exited == 3
    for shim in shims:
        await shim.close()
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert attempt.read_pid() == pid
    assert attempt.read_exit() == Exit(code=3)


@pytest.mark.parametrize(
    ("pid", "exit_file", "recorded"),
    [
        ("12\n", None, None),
        ("12\n3", None, None),
        ("12\n3\n", None, Exit(code=3)),
        ("12\n137\n", None, Exit(signal="SIGKILL")),
        ("12\n", "3", None),
        ("12\n", "3\n", Exit(code=3)),  # by the shell of an earlier version
        ("12\n3", "-9\n", Exit(signal="SIGKILL", message="the shell that ran the command was killed")),
    ],
)
async def test_an_exit_is_known_once_its_line_is_complete(
    tmp_path: Path, pid: str, exit_file: str | None, recorded: Exit | None
) -> None:
    attempt = Attempt(directory=str(tmp_path), number=1)
    create_own(attempt.meta)
    write_private(attempt.pid_file, pid.encode())
    if exit_file is not None:
        write_private(attempt.exit_file, exit_file.encode())
    assert attempt.read_pid() == 12
    assert attempt.read_exit() == recorded


async def test_the_files_of_the_shim_are_closed_in_the_adapter(runtime: LocalRuntime) -> None:
    for command in ("ls -l /proc/self/fd", "ls -l /proc/self/fd; true"):
        handle = await runtime.launch(a_run({"command": command}, id=f"job-{len(command)}"))
        assert await runtime.wait(handle) == Exit(code=0)
        await runtime.stop(handle, 1)
        opened = log_text(handle)
        assert "jobrun.log" in opened
        assert "attempt-1" not in opened
