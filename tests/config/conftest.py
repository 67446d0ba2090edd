"""The bundled catalogue, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from evalhub_server.engine.catalog import Catalog
from evalhub_server.engine.resource_store import SystemResources

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture(scope="session")
def catalog() -> SystemResources:
    with capture_logs() as logs:
        loaded = Catalog(lambda: [CONFIG / "providers"], lambda: [CONFIG / "collections"]).read()
    assert [line for line in logs if line["log_level"] != "info"] == []
    return loaded
