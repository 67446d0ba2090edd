"""Limits of file descriptors, and a server that has reached its limit."""

from __future__ import annotations

import resource
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from harness import Config, RunningServer, processes_with, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads limits from Linux's /proc")


def python_with_limit(folder: Path, ulimit: str) -> str:
    """A Python executable whose processes have a limit of open files."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\nulimit {ulimit}\nexec '{sys.executable}' \"$@\"\n")
    script.chmod(0o700)
    return str(script)


def test_the_soft_limit_is_raised(tmp_path: Path):
    config = Config(tmp_path / "config")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with RunningServer(config.folder, python=python_with_limit(tmp_path, "-S -n 256")) as server:
        soft, _ = psutil.Process(server.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))


@pytest.mark.parametrize(("end", "code"), [("exit:3", "adapter_failed"), ("kill:9", "adapter_killed")])
def test_the_exit_of_an_adapter_is_detected_when_no_descriptor_is_left(tmp_path: Path, end: str, code: str):
    gate = tmp_path / "gate"
    config = Config(tmp_path / "config", supervisor={"exit_grace": "100ms"})
    config.scripted("running", f"await:{gate}", end)
    with (
        RunningServer(config.folder, python=python_with_limit(tmp_path, "-n 60")) as server,
        ExitStack() as stack,
    ):
        job_id = server.submit()
        server.in_state(job_id, "running")
        process = psutil.Process(server.pid)

        def exhausted() -> bool:
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            return process.num_fds() >= 60

        wait_until(exhausted, "a server without descriptors")
        gate.touch()
        wait_until(lambda: not processes_with(job_id), "the adapter's end")
        stack.close()
        wait_until(lambda: process.num_fds() < 60, "a descriptor for the next connection")
        (benchmark,) = server.finished(job_id)["status"]["benchmarks"]
        assert benchmark["error_message"]["message_code"] == code
