"""Processes of workloads: which are alive, and how to end them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

import psutil


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes_of(words: Iterable[str], *, besides: Iterable[int] = ()) -> dict[int, str]:
    """Return the command lines of living processes with one of the words in their environment or command line, by id.

    Without this process and those of ``besides``.
    """
    wanted = [os.fsencode(word) for word in words]
    found: dict[int, str] = {}
    for pid in set(psutil.pids()).difference(besides, (os.getpid(),)):
        text = _words_of(pid)
        if any(word in text for word in wanted) and is_alive(pid):
            found[pid] = text.partition(b"\0\0")[0].replace(b"\0", b" ").decode(errors="replace")
    return found


def _words_of(pid: int) -> bytes:
    """Command line and environment. Read here where that is possible, since psutil takes many times as long."""
    try:
        if sys.platform == "linux":
            return _content(f"/proc/{pid}/cmdline") + b"\0\0" + _content(f"/proc/{pid}/environ")
        process = psutil.Process(pid)
        return os.fsencode("\0".join([*process.cmdline(), "", *process.environ().values()]))
    except (psutil.Error, OSError):  # it has ended, or belongs to another user
        return b""


def _content(file: str) -> bytes:
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123  a Path takes twice as long
        return opened.read()


def kill(pid: int) -> None:
    """Kill a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
