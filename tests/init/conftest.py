"""Fixture: the init program of a pod."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.init import InitPod


@pytest.fixture
def pod(tmp_path: Path) -> InitPod:
    return InitPod(tmp_path)
