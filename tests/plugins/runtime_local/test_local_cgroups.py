"""In a delegated cgroup, each attempt has a group that holds all its processes, also across a restart of the server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from evalhub_runtime_local import cgroup
from evalhub_server.plugins import Handle
from evalhub_server.testing.runs import a_run
from harness.processes import VANISH, alive, pids_in, python

pytestmark = pytest.mark.asyncio

Eventually = Callable[[Callable[[], object], str], Awaitable[object]]
STAND_IN = Path(__file__).with_name("server_stand_in.py")
ENTER = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'


@pytest.fixture
def delegated() -> Iterator[Path]:
    """A cgroup as systemd delegates it; skips where this user cannot create one."""
    own = cgroup._own_cgroup()
    if own is None:
        pytest.skip("no cgroup version 2 is mounted")
    group = own / f"evalhub-test-{os.getpid()}"
    try:
        group.mkdir()
        os.setxattr(group, "user.delegate", b"1")
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no cgroup can be created: {error}")
    yield group
    assert not cgroup.processes(group)
    cgroup.remove(group)
    assert not group.exists()


async def in_group(group: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("sh", "-c", ENTER, "sh", str(group), sys.executable, str(STAND_IN), *arguments),
        stdout=asyncio.subprocess.PIPE,
    )


async def handle_of(server: asyncio.subprocess.Process) -> Handle:
    assert server.stdout is not None
    async with asyncio.timeout(30):
        async for line in server.stdout:
            if line.startswith(b"handle "):
                return msgspec.json.decode(line.removeprefix(b"handle "))
    raise AssertionError("the server printed no handle")


async def test_an_orphan_is_stopped_by_the_next_server(
    delegated: Path, jobs: Path, tmp_path: Path, eventually: Eventually
) -> None:
    vanish = python(tmp_path, "vanish", VANISH, f"echo $$ > {tmp_path}/pid; trap '' TERM; exec sleep 600")
    run = msgspec.json.encode(a_run({"command": f"{vanish}; sleep 600"})).decode()
    first = await in_group(delegated, "launch", str(jobs), run)
    handle = await handle_of(first)
    await eventually(lambda: pids_in(tmp_path / "pid"), "the orphan runs")
    (orphan,) = pids_in(tmp_path / "pid")
    assert {handle["pid"], orphan} <= set(cgroup.processes(Path(handle["cgroup"])))
    first.send_signal(signal.SIGKILL)
    await first.wait()
    assert alive(orphan)

    second = await in_group(delegated, "stop", str(jobs), msgspec.json.encode(handle).decode())
    output, _ = await second.communicate()
    assert output.endswith(b"stopped\n")
    assert not alive(orphan)
    assert not alive(handle["pid"])
    assert not await asyncio.to_thread(Path(handle["cgroup"]).exists)


async def test_a_cgroup_that_is_not_delegated_is_not_used(delegated: Path, jobs: Path) -> None:
    os.setxattr(delegated, "user.delegate", b"0")
    server = await in_group(
        delegated, "launch", str(jobs), msgspec.json.encode(a_run({"command": "sleep 600"})).decode()
    )
    handle = await handle_of(server)
    assert handle["cgroup"] == ""
    server.kill()
    await server.wait()
    stopping = await in_group(delegated, "stop", str(jobs), msgspec.json.encode(handle).decode())
    await stopping.communicate()
    assert not alive(handle["pid"])


async def test_a_group_is_created_and_removed_when_it_is_empty(delegated: Path) -> None:
    def check() -> None:
        assert cgroup.delegated_cgroup() is None  # the one of the tests is not delegated
        assert cgroup._accepts_processes(delegated)
        group = cgroup.create(delegated, "marker")
        assert group == cgroup.create(delegated, "marker") == cgroup.path(delegated, "marker")
        assert group.is_dir()
        assert cgroup.processes(group) == []
        cgroup.remove_empty(delegated)
        assert not group.exists()
        assert cgroup.processes(group) == []
        assert not cgroup.kill(group)
        assert not cgroup._accepts_processes(group / "missing")

    await asyncio.to_thread(check)
