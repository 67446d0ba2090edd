"""A server with data for every page, which tests of this folder share and do not change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.viewer_data import ViewerServer


@pytest.fixture(scope="session")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewerServer]:
    """Started once per process of the test run. A test that changes jobs starts a :class:`ViewerServer` of its own."""
    with ViewerServer(tmp_path_factory.mktemp("viewer")) as server:
        yield server
