"""The termination message of a container."""

from __future__ import annotations

from pathlib import Path

from evalhub_common.termination import write_termination_message


def test_the_variable_names_the_file(tmp_path: Path):
    file = tmp_path / "message"
    write_termination_message("x" * 5000, {"TERMINATION_MESSAGE_PATH": str(file)}, default="/nowhere/log")
    assert file.read_text() == "x" * 4096


def test_the_default_is_for_pods(tmp_path: Path):
    file = tmp_path / "message"
    write_termination_message("text", {}, default=str(file))
    assert not file.exists()
    write_termination_message("text", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, default=str(file))
    assert file.read_text() == "text"
    write_termination_message("again", {}, default=str(file), in_pod=True)
    assert file.read_text() == "again"


def test_a_file_that_cannot_be_written_is_ignored(tmp_path: Path):
    write_termination_message("text", {}, default=str(tmp_path), in_pod=True)
