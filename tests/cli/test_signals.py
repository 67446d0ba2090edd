"""Stop signals during start-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import Config, RunningServer, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads in /proc what a process catches")
SLOW = pytest.mark.slow
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def catches(pid: int, number: signal.Signals) -> bool:
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:")
    )
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("catches it", signal.SIGTERM),
        ("has read its configuration", signal.SIGINT),
        ("made its runtime", signal.SIGHUP),
        pytest.param("catches it", signal.SIGINT, marks=SLOW),
        pytest.param("catches it", signal.SIGHUP, marks=SLOW),
        pytest.param("has read its configuration", signal.SIGTERM, marks=SLOW),
        pytest.param("has read its configuration", signal.SIGHUP, marks=SLOW),
        pytest.param("made its runtime", signal.SIGTERM, marks=SLOW),
        pytest.param("made its runtime", signal.SIGINT, marks=SLOW),
    ],
)
def test_a_server_that_is_stopped_during_start_up_exits_with_status_0(
    tmp_path: Path, moment: str, number: signal.Signals
):
    config = Config(tmp_path / "config")
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "evalhub_server", "--local", "--configdir", str(config.folder)],
            stderr=stderr,
        )
    moments = {
        # Python itself catches SIGINT from its first moment on.
        "catches it": lambda: catches(process.pid, signal.SIGTERM),
        "has read its configuration": lambda: "End reading configuration" in log.read_text(),
        "made its runtime": lambda: "Runtime created" in log.read_text(),
    }
    wait_until(moments[moment], moment)
    process.send_signal(number)
    assert process.wait(20) == 0
    assert "Traceback" not in log.read_text()


def test_a_stop_during_start_up_leaves_open_jobs_unchanged(tmp_path: Path):
    config = Config(tmp_path / "config", local={"max_parallel": 1, "jobs_dir": str(tmp_path / "jobs")})
    gate = tmp_path / "gate"
    config.scripted("running", f"await:{gate}", "completed")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        first, second = server.submit(), server.submit()
        server.in_state(first, "running")
        assert server.terminate() == 0
        again = subprocess.Popen(
            [sys.executable, "-m", "evalhub_server", "--local", "--configdir", str(config.folder)],
            env={**os.environ, "PORT": str(server.port), "EVALHUB_DATA_DIR": str(tmp_path / "data")},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert again.stderr is not None
        assert any("Runtime created" in line for line in again.stderr)
        again.terminate()
        again.stderr.close()
        assert again.wait(20) == 0
        server.start()
        gate.touch()
        for job_id in (first, second):
            assert server.finished(job_id)["status"]["state"] == "completed"
