"""Fixtures of the telemetry tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from harness import Config
from harness.collector import HttpCollector, sending_config


@pytest.fixture
def collector() -> Iterator[HttpCollector]:
    with HttpCollector() as running:
        yield running


@pytest.fixture
def config_for(tmp_path: Path) -> Callable[..., Config]:
    """:func:`sending_config` in the test's folder."""
    return partial(sending_config, tmp_path)
