"""Processes that leave their environment, their session and their parents are stopped with their workload."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_server.plugins import Exit, Handle
from evalhub_server.testing.runs import a_run
from harness.processes import VANISH, alive, pids_in, python

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(sys.platform != "linux", reason="needs child subreapers, which Linux has"),
]

Eventually = Callable[[Callable[[], object], str], Awaitable[object]]
GRACE_S = 0.3

# Each process forks one in a session of its own after 2 ms, and exits.
REFORK = """
import os, sys, time
os.environ.clear()
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(0.002)
"""


def descendants() -> list[int]:
    return [process.pid for process in psutil.Process().children(recursive=True)]


@pytest_asyncio.fixture(autouse=True)
async def no_descendant_left() -> AsyncIterator[None]:
    """Count before the fixture ``runtime`` starts anything, and after it has been closed."""
    before = set(descendants())
    yield
    left = set(descendants()) - before
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


async def started(runtime: LocalRuntime, command: str) -> Handle:
    return await runtime.launch(a_run({"command": command}))


@pytest.mark.parametrize(
    "script",
    [
        """env -i sh -c 'trap "" TERM; echo $$ > {pid}; sleep 60' & sleep 30""",
        """env -i sh -c 'trap "sleep 8; exit" TERM; echo $$ > {pid}; while :; do sleep 1; done' & wait""",
    ],
    ids=["ignores SIGTERM", "cleans up for too long"],
)
async def test_a_child_without_environment_is_stopped_on_cancel(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually, script: str
) -> None:
    handle = await started(runtime, script.format(pid=tmp_path / "pid"))
    await eventually(lambda: pids_in(tmp_path / "pid"), "the child runs")
    await runtime.stop(handle, GRACE_S)
    assert not any(map(alive, pids_in(tmp_path / "pid")))


async def test_a_child_in_a_session_of_its_own_that_ignores_sigterm_is_stopped_on_cancel(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually
) -> None:
    source = """
        import subprocess, sys
        script = f"trap '' TERM; echo $$ > {sys.argv[1]}; while :; do sleep 1; done"
        subprocess.run(["/bin/sh", "-c", script], env={}, start_new_session=True)
    """
    handle = await started(runtime, "exec " + python(tmp_path, "parent", source, str(tmp_path / "pid")))
    await eventually(lambda: pids_in(tmp_path / "pid"), "the child runs")
    await runtime.stop(handle, GRACE_S)
    assert not any(map(alive, pids_in(tmp_path / "pid")))


async def test_a_child_without_environment_is_stopped_after_an_exit(
    runtime: LocalRuntime, tmp_path: Path
) -> None:
    handle = await started(runtime, f"env -i sleep 60 & echo $! > '{tmp_path}/pid'; sleep 0.1")
    assert await runtime.wait(handle) == Exit(code=0)
    await runtime.stop(handle, GRACE_S)
    assert not any(map(alive, pids_in(tmp_path / "pid")))


async def test_a_helper_that_overwrites_its_environment_is_stopped(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually
) -> None:
    # As setproctitle does: the kernel shows whatever stands where the environment was.
    source = """
        import ctypes, os, sys, time
        libc = ctypes.CDLL(None)
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
        os.setsid()
        stat = open("/proc/self/stat").read().rpartition(")")[2].split()
        start, end = int(stat[47]), int(stat[48])
        ctypes.memset(start, 120, end - start)
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(600)
    """
    command = python(tmp_path, "helper", source, str(tmp_path / "pid"))
    handle = await started(runtime, f"({command} &) ; while [ ! -s '{tmp_path}/pid' ]; do sleep 0.01; done")
    assert await runtime.wait(handle) == Exit(code=0)
    await runtime.stop(handle, GRACE_S)
    assert not any(map(alive, pids_in(tmp_path / "pid")))


@pytest.mark.parametrize("then", ["exit 0", "sleep 60"], ids=["on exit", "on cancel"])
async def test_an_orphan_that_shows_nothing_of_its_origin_is_stopped(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually, then: str
) -> None:
    vanish = python(tmp_path, "vanish", VANISH, f"echo $$ > {tmp_path}/pid; trap '' TERM; exec sleep 600")
    handle = await started(runtime, f"{vanish}; {then}")
    await eventually(lambda: pids_in(tmp_path / "pid"), "the orphan runs")
    if then == "exit 0":
        assert await runtime.wait(handle) == Exit(code=0)
    await runtime.stop(handle, GRACE_S)
    assert not any(map(alive, pids_in(tmp_path / "pid")))


async def test_an_orphan_is_stopped_while_another_adapter_is_being_started(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually
) -> None:
    vanish = python(tmp_path, "vanish", VANISH, f"echo $$ > {tmp_path}/pid; trap '' TERM; exec sleep 600")
    handle = await started(runtime, f"{vanish}; sleep 600")
    await eventually(lambda: pids_in(tmp_path / "pid"), "the orphan runs")
    await asyncio.sleep(0.1)  # the start times of processes have steps of 10 ms
    shim = runtime._shim.pid
    assert shim is not None
    os.kill(shim, signal.SIGSTOP)
    other = asyncio.create_task(runtime.launch(a_run({"command": "sleep 600"}, id="another")))
    await asyncio.sleep(0.1)
    stopping = asyncio.create_task(runtime.stop(handle, 0.1))
    await eventually(lambda: not any(map(alive, pids_in(tmp_path / "pid"))), "the orphan's end")
    assert not other.done()
    os.kill(shim, signal.SIGCONT)
    await stopping
    await runtime.stop(await other, 30)


async def test_an_orphan_of_one_of_several_workloads_is_stopped_with_the_last(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually
) -> None:
    bystander = await started(runtime, "sleep 600")
    vanish = python(tmp_path, "vanish", VANISH, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    handle = await started(runtime, f"{vanish}; exit 0")
    assert await runtime.wait(handle) == Exit(code=0)
    await eventually(lambda: pids_in(tmp_path / "pid"), "the orphan runs")
    (orphan,) = pids_in(tmp_path / "pid")
    # Start times have a resolution of 10 ms; a workload of the same tick could have started the orphan as well.
    next_tick = time.monotonic() + 0.02
    await eventually(lambda: time.monotonic() > next_tick, "the clock has moved on")
    later = await started(runtime, "sleep 600")
    await runtime.stop(handle, GRACE_S)
    assert alive(orphan)
    assert alive(bystander["pid"])
    await runtime.stop(bystander, GRACE_S)
    assert not alive(orphan)
    assert alive(later["pid"])
    await runtime.stop(later, GRACE_S)


async def test_an_orphan_with_the_log_open_is_known_by_it(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually
) -> None:
    other = await started(runtime, "sleep 600")
    inherits = VANISH.replace("for fd in (0, 1, 2):", "for fd in (0, 2):")
    vanish = python(tmp_path, "vanish", inherits, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    handle = await started(runtime, f"{vanish}; exit 0")
    await eventually(lambda: pids_in(tmp_path / "pid"), "the orphan runs")
    await runtime.wait(handle)
    await runtime.stop(handle, GRACE_S)
    assert not any(map(alive, pids_in(tmp_path / "pid")))
    assert alive(other["pid"])
    await runtime.stop(other, GRACE_S)


async def test_a_reader_of_the_log_is_left_alone(runtime: LocalRuntime, eventually: Eventually) -> None:
    handle = await started(runtime, "echo up; sleep 600")
    log = Path(handle["dir"], "jobrun.log")
    await eventually(log.read_text, "the log has a line")
    reader = await asyncio.create_subprocess_exec("tail", "-f", str(log), stdout=subprocess.DEVNULL)
    await runtime.stop(handle, GRACE_S)
    assert reader.returncode is None
    reader.kill()
    assert await reader.wait() == -signal.SIGKILL


@pytest.mark.parametrize("then", ["exit 0", "sleep 60"], ids=["on exit", "on cancel"])
async def test_a_process_that_forks_faster_than_a_scan_is_stopped(
    runtime: LocalRuntime, tmp_path: Path, then: str
) -> None:
    handle = await started(runtime, f"{python(tmp_path, 'refork', REFORK)}; echo up; {then}")
    if then == "exit 0":
        assert await runtime.wait(handle) == Exit(code=0)
    async with asyncio.timeout(30):
        await runtime.stop(handle, GRACE_S)
    # The fixture no_descendant_left looks for the chain.


async def test_a_helper_of_the_server_is_no_orphan_of_a_workload(runtime: LocalRuntime) -> None:
    handle = await started(runtime, "exit 0")
    helper = await asyncio.create_subprocess_exec("sleep", "600")
    daemon = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    assert await runtime.wait(handle) == Exit(code=0)
    await runtime.stop(handle, GRACE_S)
    assert helper.returncode is None
    assert daemon.returncode is None
    for process in (helper, daemon):
        process.kill()
        assert await process.wait() == -signal.SIGKILL


async def test_an_ordinary_exit_needs_no_scan(runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    scans: list[str] = []
    table = type(runtime._table)
    for name in ("all", "descendants"):
        original = getattr(table, name)

        def counted(self: object, name: str = name, original: Callable[..., object] = original) -> object:
            scans.append(name)
            return original(self)

        monkeypatch.setattr(table, name, counted)
    handle = await started(runtime, "exit 0")
    await runtime.wait(handle)
    await runtime.stop(handle, GRACE_S)
    assert not scans


async def test_orphans_that_exit_are_reaped_while_their_workload_runs(
    runtime: LocalRuntime, tmp_path: Path, eventually: Eventually
) -> None:
    handle = await started(
        runtime, f"for i in $(seq 300); do (sleep 0 &) ; done; touch '{tmp_path}/done'; sleep 600"
    )
    await eventually((tmp_path / "done").exists, "all orphans were started")
    await eventually(
        lambda: not any(process.status() == psutil.STATUS_ZOMBIE for process in psutil.Process().children()),
        "no zombie is left",
    )
    await runtime.stop(handle, GRACE_S)
