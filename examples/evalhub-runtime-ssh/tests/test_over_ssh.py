"""The server's contract suite over the runtime with ssh, to an sshd of its own on a loopback port."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from evalhub_runtime_ssh import Settings
from evalhub_runtime_ssh.runtime import SshRuntime
from evalhub_server.plugins import BenchmarkRun, StartupError
from evalhub_server.testing import RuntimeContract, a_run

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
VARIABLE = "SSH_CONFIG_OF_THE_TEST"
"""Names a file. Not a fixture, because the contract suite also creates the runtime in another process."""

pytestmark = pytest.mark.skipif(not SSHD, reason="needs sshd: apt-get install openssh-server")


def run(*command: object) -> None:
    subprocess.run([str(each) for each in command], check=True)


@pytest.fixture(scope="module", autouse=True)
def sshd() -> Generator[None]:
    # Not pytest's own directory: the path of a socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="ssh-") as name, socket.create_server(("127.0.0.1", 0)) as free:
        folder, port = Path(name), free.getsockname()[1]
        free.close()
        for key in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key)
        host_key = (folder / "host.pub").read_text("utf-8")
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}", "utf-8")
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
            "PidFile none\nStrictModes no\nMaxSessions 100\n",
            "utf-8",
        )
        # One connection serves all calls, which is many times as fast.
        (folder / "ssh_config").write_text(
            f"Host host-of-the-test\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/user\n"
            f"  UserKnownHostsFile {folder}/known_hosts\n  BatchMode yes\n  ControlPath {folder}/socket\n",
            "utf-8",
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd requires it of root
        ssh = ("ssh", "-F", str(folder / "ssh_config"))
        login = (*ssh, "-o", "ControlPath=none", "host-of-the-test", "true")
        with subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")]) as server:
            deadline = time.monotonic() + 30
            while subprocess.run(login, check=False).returncode:
                assert server.poll() is None, "sshd has ended; see its errors"
                assert time.monotonic() < deadline, "sshd cannot be used; see its errors"
            with subprocess.Popen([*ssh, "-M", "-N", "host-of-the-test"]) as connection:
                os.environ[VARIABLE] = str(folder / "ssh_config")
                yield
                connection.terminate()
            server.terminate()


def settings(host: str = "host-of-the-test") -> Settings:
    return Settings(host=host, options=("-F", os.environ[VARIABLE]), python=sys.executable)


class TestOverSsh(RuntimeContract):
    def make_runtime(self, directory: Path) -> SshRuntime:
        return SshRuntime(settings(), str(directory / "workloads"), self.secrets)

    def runs_script(self, script: str) -> BenchmarkRun:
        return a_run({"command": ["sh", "-c", script]})

    def cannot_start(self) -> BenchmarkRun:
        return a_run({"command": 7})


@pytest.mark.asyncio
async def test_it_refuses_to_start_with_a_host_that_cannot_be_used():
    runtime = SshRuntime(settings("no-such-host.invalid"), "~/workloads")
    with pytest.raises(StartupError, match=r"no-such-host\.invalid.*Correct ssh\.host"):
        await runtime.check()
