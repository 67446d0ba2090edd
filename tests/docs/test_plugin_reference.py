"""The reference of the plugin API states, for each method, when and how it is called, with the numbers of the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evalhub_server
from evalhub_docs import fill
from evalhub_docs.plugin_api import CONTRACTS, LABELS, labelled, methods
from evalhub_docs.plugin_limits import LIMITS
from evalhub_server import plugins
from evalhub_server.plugins import PLUGIN_API, hookspecs

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "plugin-api"
HOOKS = [name for name in vars(hookspecs) if name.startswith("evalhub_")]
NO_LIMIT = re.compile(r"status 1|\b0\b(?!\.)|\b[45]\d\d\b|RFC 3339|about 200 lines")
"""Numbers that are no limits: exit statuses, HTTP statuses, standards."""


def contracts() -> Iterator[tuple[str, Any]]:
    """Every method of the abstract classes."""
    for name in CONTRACTS:
        for method, function in methods(getattr(plugins, name)).items():
            yield f"{name}.{method}", function


def documented() -> dict[str, str]:
    """The docstrings with numbers: of methods, classes and hooks."""
    found = {name: function.__doc__ or "" for name, function in contracts()}
    found |= {name: getattr(plugins, name).__doc__ for name in CONTRACTS}
    return found | {name: getattr(hookspecs, name).__doc__ for name in HOOKS}


def test_all_methods_are_found():
    assert set(dict(contracts())) >= {
        "Runtime.launch", "Runtime.read_log", "Storage.add_job", "Storage.replace_system", "SharedStorage.changes",
        "Tracker.record", "Exporter.export", "Observer.close",
    }  # fmt: skip
    assert "SharedStorage.add_job" not in dict(contracts())


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_method_states_when_and_how_it_is_called(name: str):
    for method, function in methods(getattr(plugins, name)).items():
        found = labelled(function)
        assert tuple(found) == LABELS, f"{name}.{method}"
        assert all(text.endswith(".") for text in found.values()), f"{name}.{method}: {found}"


def test_every_hook_does_too_or_refers_to_one_that_does():
    for name in HOOKS:
        text = getattr(hookspecs, name).__doc__
        found = labelled(getattr(hookspecs, name))
        assert "Called like :func:`evalhub_runtimes`" in text or {*found} == {*LABELS} - {"Cancellation"}, (
            name
        )


def test_the_reference_has_the_numbers_of_the_code():
    texts = documented()
    missing = [
        limit
        for limit in LIMITS
        if not re.search(rf"(?<![\d.]){limit.value:g}(?!\d|\.\d)", texts[limit.owner])
    ]
    assert missing == []
    assert [limit for limit in LIMITS if limit.setting and limit.setting not in texts[limit.owner]] == []


def test_the_reference_has_no_other_numbers():
    values: dict[str, set[str]] = {}
    for limit in LIMITS:
        values.setdefault(limit.owner, set()).add(f"{limit.value:g}")
    other = {
        name: set(re.findall(r"\b\d+(?:\.\d+)?", NO_LIMIT.sub("", text))) - values.get(name, set())
        for name, text in documented().items()
    }
    assert {name: found for name, found in other.items() if found} == {}


def test_each_class_has_a_page_with_all_of_its_methods():
    for name in CONTRACTS:
        page = PAGES / f"{'storage' if name == 'SharedStorage' else name.lower()}.md"
        rows = re.findall(
            rf"^\| \[`(\w+)`\]\(#evalhub_server\.plugins\.{name}\.", fill(page.read_text("utf-8")), re.M
        )
        assert rows == list(methods(getattr(plugins, name))), name


def test_the_changes_begin_with_this_version():
    text = (PAGES / "changelog.md").read_text("utf-8")
    first = re.search(r"^## (\S+).*: plugin API (\d+)$", text, re.MULTILINE)
    assert first is not None
    assert first.groups() == (evalhub_server.__version__, str(PLUGIN_API))


def test_what_is_not_deprecated_has_no_such_docstring():
    deprecated = [
        name
        for name in plugins.__all__
        if (inspect.getdoc(getattr(plugins, name)) or "").startswith("Deprecated")
    ]
    assert bool(deprecated) is ("Nothing is deprecated" not in (PAGES / "stability.md").read_text("utf-8"))
