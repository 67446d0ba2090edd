"""The bundled catalogue, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from evalhub_server.engine.catalog import Catalog

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    with capture_logs() as logs:
        loaded = Catalog.load(CONFIG / "providers", CONFIG / "collections")
    assert [line for line in logs if line["log_level"] != "info"] == []
    return loaded
