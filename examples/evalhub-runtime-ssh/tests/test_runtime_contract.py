"""The server's contract suites over the plugin, and over its runtime on this host."""

from pathlib import Path

from evalhub_runtime_ssh import Settings
from evalhub_runtime_ssh.runtime import SshRuntime
from evalhub_server.plugins import BenchmarkRun
from evalhub_server.testing import PluginContract, RuntimeContract, a_run


class TestSshRuntime(RuntimeContract):
    def make_runtime(self, directory: Path) -> SshRuntime:
        return SshRuntime(Settings(), str(directory / "workloads"), self.secrets)

    def runs_script(self, script: str) -> BenchmarkRun:
        return a_run({"command": ["sh", "-c", script]})

    def cannot_start(self) -> BenchmarkRun:
        return a_run({"command": 7})


class TestPlugin(PluginContract):
    entry_point = "evalhub_runtime_ssh"
