"""Pure functions start no processes, so these tests do not look for any."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> None:
    """Replace the fixture of the whole tree, which reads every process of the host after each test."""
