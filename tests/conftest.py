"""Fixtures for the whole tree."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import processes_with


@pytest.fixture(autouse=True)
def nothing_is_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test that has a folder leaves a process behind that it started below it."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    folder = str(request.getfixturevalue("tmp_path"))
    yield
    assert processes_with(folder) == []
