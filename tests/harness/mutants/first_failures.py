"""pytest plugin of the run over mutants: runs the tests of each class until the first fails, and writes what failed.

The test that should fail is the first of its class; the good implementation runs all. ``MUTANT_FAILURES`` names the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

FAILURES: dict[str, str] = {}
"""The text of the first failure, by test class."""


def pytest_collection_modifyitems(items: list[Any]) -> None:
    classes = list(dict.fromkeys(item.cls for item in items))
    items.sort(
        key=lambda item: (classes.index(item.cls), item.originalname != getattr(item.cls, "expected", ""))
    )


def pytest_runtest_setup(item: Any) -> None:
    if item.cls.__name__ in FAILURES:
        pytest.skip("an earlier test of the class has failed")


def pytest_runtest_makereport(item: Any, call: pytest.CallInfo[None]) -> None:
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
        shown = item.repr_failure(call.excinfo)
        FAILURES.setdefault(item.cls.__name__, f"{item.name} ({call.when})\n{shown}")


def pytest_sessionfinish() -> None:
    Path(os.environ["MUTANT_FAILURES"]).write_text(json.dumps(FAILURES), "utf-8")
