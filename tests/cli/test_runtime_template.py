"""Keepers of the runtime that ``init-plugin`` creates: how many a launch starts, and which of them outlive a stop."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalhub_server.cli.templates.plugin.runtime import MyPluginRuntime
from evalhub_server.testing.processes import kill, processes_of
from evalhub_server.testing.runs import a_run
from harness import wait_until

pytestmark = [
    pytest.mark.asyncio,
    # Keepers outlive the object that started them.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


@pytest.fixture
def workloads(tmp_path: Path) -> Iterator[Path]:
    """The directory of all workloads; keepers of a failed test are killed."""
    folder = tmp_path / "workloads"
    yield folder
    for pid in processes_of({str(folder)}):
        kill(pid)


def run_keepers_after(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the interpreter that runs keepers be a script that runs a shell command before it."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\n{command}\nexec {shlex.quote(sys.executable)} "$@"\n')
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))


async def test_concurrent_launches_of_a_workload_start_one_keeper(
    workloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    started = tmp_path / "started"
    run_keepers_after(f"echo keeper >> {shlex.quote(str(started))}", tmp_path, monkeypatch)
    runtime, run = MyPluginRuntime(workloads), a_run({"command": ["true"]})
    cancelled, *launches = [asyncio.create_task(runtime.launch(run)) for _ in range(5)]
    await asyncio.sleep(0)  # until all launches have begun
    cancelled.cancel()
    handles = await asyncio.gather(*launches)
    await runtime.wait(handles[0])
    await runtime.stop(handles[0], 0.0)
    assert started.read_text() == "keeper\n"


async def test_a_stop_waits_for_a_keeper_that_an_earlier_server_has_just_started(
    workloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    run_keepers_after(f"read line < {shlex.quote(str(fifo))}", tmp_path, monkeypatch)
    run = a_run({"command": ["true"]})
    launch = asyncio.create_task(MyPluginRuntime(workloads).launch(run))
    try:
        await asyncio.to_thread(wait_until, lambda: processes_of({str(workloads)}), "a keeper is started")
        runtime = MyPluginRuntime(workloads)
        handle = await runtime.find(run)
        assert handle is not None
        stop = asyncio.create_task(runtime.stop(handle, 0.0))
        exit_file = workloads / handle["folder"] / "exit.json"
        await asyncio.to_thread(wait_until, exit_file.exists, "the exit of the stopped workload is recorded")
        await asyncio.to_thread(fifo.write_text, "\n")
        await stop
        assert processes_of({str(workloads)}) == {}
    finally:
        for pid in processes_of({str(workloads)}):
            kill(pid)
        await launch
    assert not (workloads / handle["folder"] / "log").exists(), "the adapter was not started"
