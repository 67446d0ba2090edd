"""Both event loops for every test, a runtime over an own directory, and no process left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import pytest_asyncio
import uvloop

from evalhub_runtime_local import shim
from evalhub_runtime_local.process_tree import MARKER
from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_runtime_local.settings import LocalSettings
from evalhub_server.plugins import PluginContext
from harness import fork_server

T = TypeVar("T")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, LoopFactory]:
    if getattr(item.cls, "one_event_loop", False):
        return {"asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Servers run on uvloop: on asyncio's loop, the contract suites are default tests and all others slow ones."""
    parameters = getattr(item, "callspec", None)
    factory = parameters.params.get("_asyncio_loop_factory") if parameters else None
    if factory is asyncio.new_event_loop and getattr(item, "cls", None) is None:
        item.add_marker(pytest.mark.slow)


def children() -> set[int]:
    """Our children, zombies included, but for those from which servers of tests are forked."""
    return {process.pid for process in psutil.Process().children()} - fork_server.pids()


def marked(directory: Path, before: set[int]) -> list[int]:
    """Processes, other than those of ``before``, that carry the marker of a workload below a directory."""
    prefix = f"{MARKER}={directory}".encode()
    found: list[int] = []
    for pid in set(psutil.pids()) - before:
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if any(entry.startswith(prefix) for entry in environ.split(b"\0")):
            found.append(pid)
    return found


@pytest.fixture
def without_waitid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, no exit can be seen without reaping the process: neither here nor in the shim."""
    monkeypatch.delattr(os, "waitid")
    *options, program = shim.ARGUMENTS
    monkeypatch.setattr(shim, "ARGUMENTS", (*options, f"import os; del os.waitid; {program}"))


@pytest.fixture(autouse=True)
def nothing_is_left_behind(tmp_path: Path) -> Iterator[None]:
    before, all_before = children(), set(psutil.pids())
    yield
    left = marked(tmp_path, all_before)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
    # The shim of a killed server, which a runtime of the test has adopted, ends a moment after its last adapter.
    for child in map(psutil.Process, children() - before):
        if child.name().startswith("python"):
            with suppress(psutil.TimeoutExpired):
                child.wait(10)
    assert not children() - before


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """The base directory of jobs."""
    return tmp_path / "jobs"


@pytest.fixture
def new_runtime(jobs: Path) -> Callable[..., LocalRuntime]:
    """Make a runtime over the test's directory; a second one stands for a restarted server."""

    def make(*, secrets: frozenset[str] = frozenset(), **options: Any) -> LocalRuntime:
        settings = {key: options.pop(key) for key in list(options) if key in LocalSettings.__struct_fields__}
        context = PluginContext(secrets=secrets)
        return LocalRuntime(LocalSettings(**{"jobs_dir": str(jobs), **settings}), context, **options)

    return make


@pytest_asyncio.fixture
async def runtime(new_runtime: Callable[..., LocalRuntime]) -> AsyncIterator[LocalRuntime]:
    runtime = new_runtime()
    await runtime.check()
    yield runtime
    await runtime.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], T], str], Awaitable[T]]:
    """Wait until a condition holds and return its value; fail with the text if it does not within 30 s."""

    async def wait_for(condition: Callable[[], T], what: str) -> T:
        async with asyncio.timeout(60):
            while not (value := condition()):
                await asyncio.sleep(0.005)
        assert value, what
        return value

    return wait_for
