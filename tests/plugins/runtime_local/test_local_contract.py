"""The contract of a runtime, over processes: with what Linux offers, and with what every POSIX system has."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_runtime_local.process_table import PsutilProcesses
from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_runtime_local.settings import LocalSettings
from evalhub_server.plugins import BenchmarkRun, PluginContext, Runtime
from evalhub_server.testing.runs import a_run
from evalhub_server.testing.runtime_contract import RuntimeContract

pytestmark = pytest.mark.asyncio


class TestLocalRuntime(RuntimeContract):
    def make_runtime(self, directory: Path) -> Runtime:
        return LocalRuntime(LocalSettings(), PluginContext(data_dir=directory, secrets=self.secrets))

    def runs_script(self, script: str) -> BenchmarkRun:
        return a_run({"command": script})

    def cannot_start(self) -> BenchmarkRun:
        return a_run({"command": "true", "cwd": "/no/such/directory"})


@pytest.mark.slow
@pytest.mark.usefixtures("without_waitid")
class TestWithoutProcAndPidfd(TestLocalRuntime):
    """As on macOS: psutil tells about processes, threads wait for them, and no exit can be seen without reaping."""

    one_event_loop = True  # psutil takes long to look at all processes

    def make_runtime(self, directory: Path) -> Runtime:
        context = PluginContext(data_dir=directory, secrets=self.secrets)
        return LocalRuntime(LocalSettings(), context, table=PsutilProcesses(), pidfd=False)
