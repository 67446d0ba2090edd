"""A server that is PID 1, as in a container, reaps orphans."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness import Config, RunningServer, wait_until

UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    try:
        allowed = subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("no PID namespace can be created")
    config = Config(tmp_path)
    orphans = "for i in $(seq 300); do (sleep 0 &) ; done; echo all started; sleep 600"
    config.provider(orphans, provider_id="orphans")
    config.provider("exit 3", provider_id="exits")
    with RunningServer(config.folder, prefix=UNSHARE) as running:
        yield running
        first_process(running).terminate()  # unshare itself ignores SIGTERM
        assert running.process is not None
        running.process.wait(30)


def first_process(server: RunningServer) -> psutil.Process:
    (first,) = psutil.Process(server.pid).children()
    return first


def is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def zombies(server: RunningServer) -> list[psutil.Process]:
    return list(filter(is_zombie, first_process(server).children()))


def test_short_lived_orphans_are_reaped_and_exit_codes_of_adapters_are_kept(server: RunningServer) -> None:
    job = server.submit(provider="orphans")
    wait_until(lambda: "all started" in server.logs(job), "300 orphans", 60)
    wait_until(lambda: not zombies(server), "no zombie is left", 30)
    (benchmark,) = server.finished(server.submit(provider="exits"))["status"]["benchmarks"]
    assert "exit code 3" in benchmark["error_message"]["message"]
    assert server.call("DELETE", f"/api/v1/evaluations/jobs/{job}").status == 204
    assert not zombies(server)
