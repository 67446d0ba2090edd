"""Commands for adapters that start processes, and look-ups of these processes."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

import psutil

VANISH = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        os.execve("/bin/sh", ["sh", "-c", sys.argv[1]], {})
    os._exit(0)
os.wait()
"""
"""Starts a process that has nothing in common with its workload: no environment, session, parent or open log."""


def python(directory: Path, name: str, source: str, *arguments: str) -> str:
    """A shell command that runs Python source."""
    script = directory / f"{name}.py"
    script.write_text(textwrap.dedent(source))
    return f'"$EVALHUB_PYTHON" {shlex.join([str(script), *arguments])}'


def pids_in(*files: Path) -> list[int]:
    """The process ids that a workload has written; empty until they are complete."""
    texts = [file.read_text().split() if file.exists() else [] for file in files]
    return [int(pid) for text in texts for pid in text] if all(texts) else []


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
