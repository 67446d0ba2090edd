"""Commands of ``eval-hub-server`` that run to their end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from harness.fork_server import can_fork, fork


def run_program(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    timeout_s: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m evalhub_server`` with ``arguments`` and capture what it prints. It is a fork where it can be one.

    ``prefix`` is a command that runs it, such as one that changes the user.
    """
    env = os.environ if env is None else env
    command = [*prefix, sys.executable, "-m", "evalhub_server", *arguments]
    if prefix or not can_fork(env):
        return subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = fork(arguments, env, stdout.fileno(), stderr.fileno())
        try:
            status = process.wait(timeout_s)
        finally:
            process.kill()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(command, status, stdout.read(), stderr.read())
