"""Forks behave as new interpreters do (see :mod:`harness.fork_server`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness import Config, RunningServer
from harness.fork_server import can_fork, fork

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere servers are not forked")


@pytest.mark.parametrize("new_interpreter", [False, True])
def test_arguments_environment_and_streams_are_its_own(tmp_path: Path, *, new_interpreter: bool):
    config = Config(tmp_path / "config")
    env = {"OF_THIS_SERVER": str(tmp_path)}
    with RunningServer(config.folder, env=env, new_interpreter=new_interpreter) as server:
        process = psutil.Process(server.pid)
        words = [word for word in process.cmdline() if word]
        assert words == [sys.executable, "-m", "evalhub_server", "--local", "--configdir", str(config.folder)]
        shown = {name: value for name, value in process.environ().items() if name}
        assert shown == {**os.environ, **env}
        log = str(config.folder / "server.log.txt")
        streams = [str(Path(f"/proc/{server.pid}/fd/{number}").readlink()) for number in range(3)]
        assert streams == [os.devnull, log, log]
    assert server.process is not None
    assert server.process.returncode == 0


def test_exit_statuses_and_signals_are_reported(tmp_path: Path):
    config = Config(tmp_path / "config")
    with (tmp_path / "log").open("wb") as log:
        wrong = fork(["--no-such-option"], os.environ, log.fileno(), log.fileno())
        assert wrong.wait(60) == 2
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        server.kill()
        assert server.process is not None
        assert server.process.poll() == -signal.SIGKILL
        assert not psutil.pid_exists(server.pid)
    assert "No such option" in (tmp_path / "log").read_text()


def test_a_wait_has_a_limit(tmp_path: Path):
    with RunningServer(Config(tmp_path / "config").folder) as server:
        assert server.process is not None
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.01)
        assert server.process.poll() is None


def test_variables_that_an_interpreter_reads_require_a_new_one():
    assert can_fork({**os.environ, "EVALHUB_TOKEN": "t"})
    assert not can_fork({**os.environ, "PYTHONUTF8": "0"})


def test_the_end_of_a_fork_is_that_of_an_interpreter(tmp_path: Path):
    """Threads have ended, functions of ``atexit`` have run and streams are flushed."""
    program = """
import atexit, threading, time

def write():
    time.sleep(0.2)
    print("thread")

atexit.register(print, "atexit")
threading.Thread(target=write).start()
print("main")
raise SystemExit(3)
"""
    (tmp_path / "ending.py").write_text(program)
    found: list[tuple[int, str]] = []
    for number, command in enumerate(
        (
            [sys.executable, "-m", "ending"],
            [sys.executable, "-c", "from harness.fork_server import _run; _run('ending')"],
        )
    ):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        log = tmp_path / str(number)
        with log.open("wb") as output:
            done = subprocess.run(command, env=env, stdout=output, stderr=output, timeout=60, check=False)
        found.append((done.returncode, log.read_text()))
    assert found == [(3, "main\nthread\natexit\n")] * 2
