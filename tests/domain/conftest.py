"""Pure functions start no processes, so these tests do not look for any."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The suite runs in pytest's importlib mode, which does not make neighbouring modules importable.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> None:
    """Replace the fixture of the whole tree, which reads every process of the host after each test."""
