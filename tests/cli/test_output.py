"""Commands whose standard output is closed or full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "evalhub_server"]
DEMO = ("demo", "--num-examples", "1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize(
    "arguments",
    [DEMO, pytest.param((*DEMO, "--json"), marks=pytest.mark.slow), ("plugins",), ("check", "--local")],
    ids=" ".join,
)
def test_a_full_disk_is_a_failure_with_one_line(tmp_path: Path, arguments: tuple[str, ...]):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "eval-hub-server: cannot write to standard output: No space left on device.\n"


def test_a_closed_pipe_stops_the_demo_silently(tmp_path: Path):
    with subprocess.Popen(
        [*PROGRAM, *DEMO],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("EvalHub Server is listening on")
        process.stdout.close()
        assert (process.stderr.read(), process.wait(120)) == ("", 1)
