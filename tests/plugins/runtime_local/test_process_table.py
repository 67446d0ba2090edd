"""The process table, read from /proc and through psutil."""

from __future__ import annotations

import subprocess

import pytest

from evalhub_runtime_local.process_table import ProcessTable, PsutilProcesses, process_table
from harness import wait_until


@pytest.mark.parametrize("table", [process_table(), PsutilProcesses()], ids=["platform", "psutil"])
def test_a_child_is_listed_while_it_runs_and_unknown_afterwards(table: ProcessTable) -> None:
    child = subprocess.Popen(["sleep", "600"])
    try:
        assert child.pid in {process.pid for process in table.descendants()}
        # Both are empty for an instant while the child executes its program.
        wait_until(lambda: table.command_line(child.pid) and table.environ(child.pid), "the program")
        assert table.command_line(child.pid) == b"sleep\x00600\x00"
        assert b"PATH=" in table.environ(child.pid)
        assert table.writes_to(child.pid, frozenset({(0, 0)})) is None
    finally:
        child.kill()
        child.wait()
    assert table.find(child.pid) is None
    assert child.pid not in {process.pid for process in table.descendants()}
    assert table.command_line(child.pid) == table.environ(child.pid) == b""
    assert table.writes_to(child.pid, frozenset({(0, 0)})) is None
