"""Stopping ends every process of a workload and no other."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
import pytest_asyncio

from evalhub_runtime_local.attempt_files import JOB_SPEC_PATH
from evalhub_runtime_local.process_table import LinuxProcesses, Process, PsutilProcesses, process_table
from evalhub_runtime_local.process_tree import MARKER
from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_server.testing.runs import a_run

pytestmark = pytest.mark.asyncio

Eventually = Callable[[Callable[[], object], str], Awaitable[object]]
PR_SET_CHILD_SUBREAPER = 36
STAND_IN = Path(__file__).with_name("server_stand_in.py")

# Ignores SIGTERM, has a child in its group, one in a session of its own, a daemon, and one without environment.
FAMILY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def member(name):
    path = os.path.join(sys.argv[1], name)
    with open(path + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".new", path)
def stay():
    while True:
        time.sleep(60)
if os.fork() == 0:
    member("child")
    stay()
if os.fork() == 0:
    os.setsid()
    member("session")
    stay()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        member("daemon")
        stay()
    os._exit(0)
if os.fork() == 0:
    os.setsid()
    member("bare")
    os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"], {})
member("adapter")
if sys.argv[2] == "leave":
    os._exit(0)
stay()
"""
NAMES = ("adapter", "child", "session", "daemon", "bare")


def family_command(directory: Path, then: str) -> str:
    script = directory / "family.py"
    script.write_text(FAMILY)
    # Without exec a shell may stay in between, and that one does not ignore SIGTERM.
    return f'exec "$EVALHUB_PYTHON" "{script}" "{directory}" {then}'


def family(directory: Path) -> dict[str, int]:
    """Pids by name, empty until all are there."""
    found = {name: directory / name for name in NAMES}
    if not all(path.exists() for path in found.values()):
        return {}
    return {name: int(path.read_text()) for name, path in found.items()}


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest_asyncio.fixture(params=["proc", "psutil"])
async def any_runtime(
    request: pytest.FixtureRequest, new_runtime: Callable[..., LocalRuntime]
) -> LocalRuntime:
    if request.param == "proc":
        runtime = new_runtime()
        await runtime.check()
        return runtime
    request.getfixturevalue("without_waitid")
    return new_runtime(table=PsutilProcesses(), pidfd=False)  # unchecked: as on macOS, without a subreaper


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


async def test_the_whole_family_is_stopped(
    any_runtime: LocalRuntime, tmp_path: Path, eventually: Eventually
) -> None:
    handle = await any_runtime.launch(a_run({"command": family_command(tmp_path, "stay")}))
    await eventually(lambda: family(tmp_path), "the family is there")
    await any_runtime.stop(handle, 0.1)
    assert not [name for name, pid in family(tmp_path).items() if alive(pid)]
    assert (await any_runtime.wait(handle)).signal == "SIGKILL"
    await any_runtime.close()


class Counted(LinuxProcesses):
    def __init__(self) -> None:
        self.looked_at: set[int] = set()

    def find(self, pid: int) -> Process | None:
        self.looked_at.add(pid)
        return super().find(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper")
async def test_a_stop_looks_at_no_process_of_other_adapters(
    new_runtime: Callable[..., LocalRuntime],
) -> None:
    table = Counted()
    runtime = new_runtime(table=table)
    await runtime.check()
    handles = [await runtime.launch(a_run({"command": "exec sleep 600"}, id=f"{n}")) for n in range(4)]
    pid, *others = (handle["pid"] for handle in handles)
    table.looked_at.clear()
    await runtime.stop(handles[0], 30)
    assert not alive(pid)
    assert pid in table.looked_at
    assert not table.looked_at & set(others)
    for handle in handles[1:]:
        await runtime.stop(handle, 30)
    assert not [other for other in others if alive(other)]
    await runtime.close()


async def test_what_an_ended_adapter_left_is_stopped(
    any_runtime: LocalRuntime, tmp_path: Path, eventually: Eventually
) -> None:
    handle = await any_runtime.launch(a_run({"command": family_command(tmp_path, "leave")}))
    assert (await any_runtime.wait(handle)).code == 0
    pids = await eventually(lambda: family(tmp_path), "the family is there")
    assert isinstance(pids, dict)
    await any_runtime.stop(handle, 0.1)
    left = [name for name, pid in family(tmp_path).items() if alive(pid)]
    if any_runtime._subreaper.active:
        assert not left
    else:
        # Without parent, session and environment nothing identifies it.
        os.kill(pids["bare"], 9)
        assert left == ["bare"]
    await any_runtime.close()


async def test_a_member_without_environment_is_known_by_its_session(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually
) -> None:
    command = f"env -i sleep 600 & echo $! > '{tmp_path}/bare'; sleep 600 & exit 0"
    handle = await runtime.launch(a_run({"command": command}))
    assert (await runtime.wait(handle)).code == 0
    pid = int((tmp_path / "bare").read_text())
    await eventually(lambda: not Path(f"/proc/{pid}/environ").read_bytes(), "its environment is gone")
    await runtime.stop(handle, 10)
    assert not alive(pid)


async def test_a_stop_right_after_the_launch_does_not_wait_for_the_grace(runtime: LocalRuntime) -> None:
    """SIGTERM can come before the shell has started the command, which does not see it then."""
    for pause_s in (0, 0.001, 0.002, 0.003, 0.004, 0.005) * 4:
        handle = await runtime.launch(a_run({"command": "exec sleep 600"}))
        await asyncio.sleep(pause_s)
        async with asyncio.timeout(30):
            await runtime.stop(handle, 60)


@pytest.mark.parametrize("prefix", ["", "exec "])
async def test_an_adapter_is_asked_once_and_may_clean_up(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually, prefix: str
) -> None:
    script = (
        "import signal, sys, time\n"
        "def bye(*_):\n    print('asked', flush=True)\n    time.sleep(0.2)\n    sys.exit(9)\n"
        "signal.signal(signal.SIGTERM, bye)\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "while True:\n    time.sleep(60)\n"
    )
    (tmp_path / "polite.py").write_text(script)
    command = f"{prefix}\"$EVALHUB_PYTHON\" '{tmp_path}/polite.py'"
    handle = await runtime.launch(a_run({"command": command}))
    await eventually((tmp_path / "ready").exists, "the adapter is ready")
    await runtime.stop(handle, 30)
    exit_ = await runtime.wait(handle)
    # A shell in between does not wait for its child.
    assert exit_.code == 9 or (exit_.signal == "SIGTERM" and not prefix)
    assert (await asyncio.to_thread(Path(handle["dir"], "jobrun.log").read_text)) == "asked\n"


@pytest.mark.slow
async def test_sixty_stubborn_ones_are_stopped_at_once(runtime: LocalRuntime) -> None:
    runs = [a_run({"command": "trap '' TERM; echo up; while :; do sleep 60; done"}) for _ in range(60)]
    handles = await asyncio.gather(*(runtime.launch(run) for run in runs))
    async with asyncio.timeout(60):
        await asyncio.gather(*(runtime.stop(handle, 0.5) for handle in handles))
    exits = await asyncio.gather(*(runtime.wait(handle) for handle in handles))
    assert {exit_.signal for exit_ in exits} <= {"SIGKILL", "SIGTERM"}


async def test_a_process_that_got_the_id_later_is_left_alone(
    any_runtime: LocalRuntime, bystander: subprocess.Popen[bytes]
) -> None:
    handle = await any_runtime.launch(a_run({"command": "true"}))
    await any_runtime.wait(handle)
    await any_runtime.stop(handle, 0)
    found = process_table().find(bystander.pid)
    assert found is not None
    await asyncio.to_thread(Path(handle["dir"], "meta", "attempt-1.pid").unlink)
    for forged in (
        handle | {"pid": bystander.pid, "started": found.started - 1},
        handle | {"pid": bystander.pid, "started": found.started, "boot_id": "another boot"},
    ):
        async with asyncio.timeout(30):
            assert (await any_runtime.wait(forged)).lost
            await any_runtime.stop(forged, 0)
    assert bystander.poll() is None
    await any_runtime.close()


async def test_a_server_inside_of_a_workload_does_not_stop_itself(runtime: LocalRuntime, jobs: Path) -> None:
    handle = await runtime.launch(a_run({"command": "exec sleep 600"}))
    variables = {MARKER: f"{handle['dir']}#1", JOB_SPEC_PATH: handle["job_spec"]}
    # The outer shell is an ancestor in another session than the server.
    command = 'setsid -w "$0" "$@"; status=$?; echo survived; exit $status'
    process = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", command, sys.executable, str(STAND_IN), "stop", str(jobs), msgspec.json.encode(handle)],
        env=os.environ | variables,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (process.returncode, process.stdout) == (0, "stopped\nsurvived\n"), process.stderr
    assert (await runtime.wait(handle)).signal == "SIGTERM"


async def test_adopted_orphans_are_reaped(runtime: LocalRuntime) -> None:
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        handle = await runtime.launch(a_run({"command": "(sleep 600 & sleep 600 & true) & exit 3"}))
        assert (await runtime.wait(handle)).code == 3
        await runtime.stop(handle, 10)
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    # The fixture nothing_is_left_behind counts zombies.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_processes_of_another_user_are_left_and_not_waited_for(
    runtime: LocalRuntime, jobs: Path
) -> None:
    handle = await runtime.launch(a_run({"command": "sleep 600"}))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(STAND_IN), "stop-as-other-user", str(jobs), msgspec.json.encode(handle)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Processes of another user left running" in done.stdout, done.stderr
    assert done.stdout.endswith("stopped\n")
    assert alive(handle["pid"])
    await runtime.stop(handle, 10)
