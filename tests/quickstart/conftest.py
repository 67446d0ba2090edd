"""Fixtures for the quickstart provider: a callback server, the demo endpoint, and a job to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evalhub_quickstart.endpoint import DemoEndpoint
from harness.quickstart import CallbackServer, JobDirectory


@pytest.fixture
def callback() -> Iterator[CallbackServer]:
    with CallbackServer() as server:
        yield server


@pytest.fixture
def demo() -> Iterator[DemoEndpoint]:
    with DemoEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def job(tmp_path: Path, callback: CallbackServer) -> JobDirectory:
    """A job that reports to ``callback``; the test sets its model."""
    return JobDirectory(tmp_path / "job", callback_url=callback.url)
