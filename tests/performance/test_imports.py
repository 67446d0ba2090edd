"""Limits of the number of our modules that are imported, which a start pays for."""

from __future__ import annotations

import pytest

from harness.imports import loaded_by

VERSION = """
import contextlib, io
from evalhub_server.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["--version"])
"""
HEALTH = "import evalhub_server.cli.serve"
SERVER = "import evalhub_server.cli.serve, evalhub_server.cli.server, evalhub_server.cli.assembly"


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        pytest.param(VERSION, 20, id="version"),
        pytest.param(HEALTH, 130, id="before the first answer"),
        pytest.param(SERVER, 360, id="server"),
    ],
)
def test_few_modules_of_ours_are_imported(code: str, limit: int) -> None:
    """The present numbers and room for a few more."""
    ours = {name for name in loaded_by(code) if name.startswith("evalhub_")}
    assert len(ours) <= limit, sorted(ours)


def test_a_start_imports_no_pages_and_nothing_that_only_some_configurations_need() -> None:
    unneeded = {"evalhub_server.viewer", "jinja2", "markupsafe", "aiohttp", "jsonpatch", "prometheus_client"}
    assert not unneeded & loaded_by(SERVER)
