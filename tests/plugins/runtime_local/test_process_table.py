"""The process table, read from /proc and through psutil."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import pytest

from evalhub_runtime_local.process_table import (
    ProcessTable,
    PsutilProcesses,
    adopted_pids,
    lists_children,
    process_table,
    read_all,
)
from harness import wait_until


@pytest.mark.parametrize("table", [process_table(), PsutilProcesses()], ids=["platform", "psutil"])
def test_a_child_is_listed_while_it_runs_and_unknown_afterwards(table: ProcessTable) -> None:
    child = subprocess.Popen(["sleep", "600"])
    try:
        assert child.pid in {process.pid for process in table.descendants(os.getpid())}
        # Both are empty for an instant while the child executes its program.
        wait_until(lambda: table.environ(child.pid), "the program")
        assert b"PATH=" in table.environ(child.pid)
        assert table.writes_to(child.pid, frozenset({(0, 0)})) is None
    finally:
        child.kill()
        child.wait()
    assert table.find(child.pid) is None
    assert child.pid not in {process.pid for process in table.descendants(os.getpid())}
    assert table.environ(child.pid) == b""
    assert table.writes_to(child.pid, frozenset({(0, 0)})) is None


def test_a_file_is_read_to_its_end_in_parts_of_any_size() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for part in (b"1 22 ", b"333 "):
            theirs.send(part)
        theirs.close()
        assert read_all(ours.fileno()) == b"1 22 333 "


@pytest.mark.slow
@pytest.mark.skipif(not lists_children(), reason="the kernel does not list the children of processes")
def test_more_children_are_listed_than_one_read_returns() -> None:
    children: set[int] = set()
    try:
        for _ in range(1500):
            children.add(os.posix_spawnp("sleep", ["sleep", "600"], os.environ))
        assert children <= adopted_pids()
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
