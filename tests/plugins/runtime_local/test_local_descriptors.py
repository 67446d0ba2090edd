"""Without a free file descriptor the state of a process is unknown; it is not reported as lost."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evalhub_runtime_local.process_table import Process, process_table
from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_server.domain.record import Exit
from evalhub_server.errors import RuntimeUnavailable
from evalhub_server.testing.runs import a_run
from harness import processes_with, wait_until

pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")]


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):  # noqa: PT012  until it does
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


async def test_a_running_workload_is_not_taken_for_gone(new_runtime: Callable[..., LocalRuntime]):
    first, second = new_runtime(), new_runtime()
    handle = await first.launch(a_run({"command": "sleep 600"}))
    with no_descriptor_left():
        for attempt in (second.wait(handle), second.stop(handle, 1)):
            with pytest.raises(OSError, match="Too many open files"):
                await attempt
    waiting = asyncio.create_task(second.wait(handle))
    await first.stop(handle, 1)
    assert await waiting == Exit(signal="SIGTERM")
    await first.close()
    await second.close()


async def test_how_a_workload_ended_is_found_out_later(runtime: LocalRuntime):
    handle = await runtime.launch(a_run({"command": "sleep 600"}))
    waiting = asyncio.create_task(runtime.wait(handle))
    await asyncio.sleep(0)
    with no_descriptor_left():
        os.kill(handle["pid"], signal.SIGKILL)
        await asyncio.sleep(0.2)
    assert (await waiting).signal == "SIGKILL"
    await runtime.stop(handle, 0)


class Blind:
    """A table that cannot look at single processes, until it can."""

    blind = True

    def __init__(self, error: int) -> None:
        self._error = error

    def now(self) -> float:
        return process_table().now()

    def descendants(self, pid: int) -> list[Process]:
        return process_table().descendants(pid)

    def age_s(self, process: Process) -> float | None:
        return process_table().age_s(process)

    def writes_to(self, pid: int, files: frozenset[tuple[int, int]]) -> tuple[int, int] | None:
        return process_table().writes_to(pid, files)

    def all(self) -> list[Process]:
        return process_table().all()

    def find(self, pid: int) -> Process | None:
        if self.blind:
            raise OSError(self._error, os.strerror(self._error))
        return process_table().find(pid)

    def environ(self, pid: int) -> bytes:
        return process_table().environ(pid)


# EAGAIN is also what a launch gets at a limit of processes.
@pytest.mark.parametrize("error", [errno.EMFILE, errno.EAGAIN])
async def test_a_workload_that_could_not_be_identified_later_is_killed_and_launched_again(
    new_runtime: Callable[..., LocalRuntime], tmp_path: Path, error: int
):
    table = Blind(error)
    runtime = new_runtime(table=table)
    run = a_run({"command": f"[ -e '{tmp_path}/go' ] && exit 4; sleep 600"})
    with pytest.raises(RuntimeUnavailable, match=os.strerror(error)):
        await runtime.launch(run)
    wait_until(lambda: not processes_with(run.spec.id), "the end of its processes")
    (tmp_path / "go").touch()
    table.blind = False
    handle = await runtime.launch(run)
    assert await runtime.wait(handle) == Exit(code=4)
    await runtime.stop(handle, 1)
    await runtime.close()
