"""Whether an ended adapter has left samples or artifacts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evalhub_server.engine.artifact_files import has_entries
from evalhub_server.plugins import SampleFiles


def files_of(directory: Path) -> SampleFiles:
    return SampleFiles(samples=directory / "samples.jsonl", artifacts=directory / "artifacts")


def nothing(_: SampleFiles) -> None:
    return


def empty_directory(files: SampleFiles) -> None:
    files.artifacts.mkdir()


def no_directory(files: SampleFiles) -> None:
    files.samples.parent.rmdir()


def samples(files: SampleFiles) -> None:
    files.samples.touch()


def link(files: SampleFiles) -> None:
    files.samples.symlink_to("nowhere")


def artifact(files: SampleFiles) -> None:
    files.artifacts.mkdir()
    (files.artifacts / "plot.png").touch()


@pytest.mark.parametrize(
    ("leave", "left"),
    [
        (nothing, False),
        (empty_directory, False),
        (samples, True),
        (link, True),
        (artifact, True),
        (no_directory, True),
    ],
)
def test_what_an_adapter_left_is_found(
    tmp_path: Path, leave: Callable[[SampleFiles], object], left: bool
) -> None:
    (tmp_path / "job").mkdir()
    files = files_of(tmp_path / "job")
    leave(files)
    assert has_entries(files) == left
