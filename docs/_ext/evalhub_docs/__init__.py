"""Sphinx extension that fills pages with reference text generated from the code.

A line ``<!-- generated: NAME [ARGUMENT] -->`` in a Markdown page is replaced with the Markdown that the function of that
name in :data:`GENERATORS` returns. Such pages are read again in every build, because Sphinx cannot see when the code changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evalhub_docs.command_line import command_line
from evalhub_docs.diagnoses import diagnoses
from evalhub_docs.metrics import metrics
from evalhub_docs.plugin_api import as_fields, plugin_api, plugin_class
from evalhub_docs.plugin_limits import plugin_limits
from evalhub_docs.problems import error_codes
from evalhub_docs.rest_api import headers, operations, schemas
from evalhub_docs.settings import no_effect, settings, variables

GENERATORS: Mapping[str, Callable[[str], str]] = {
    "command-line": command_line,
    "diagnoses": diagnoses,
    "error-codes": error_codes,
    "headers": headers,
    "metrics": metrics,
    "no-effect": no_effect,
    "operations": operations,
    "plugin-api": plugin_api,
    "plugin-class": plugin_class,
    "plugin-limits": plugin_limits,
    "schemas": schemas,
    "settings": settings,
    "variables": variables,
}
MARKER = re.compile(r"^<!-- generated: ([\w-]+) ?([\w.-]*) -->$", re.MULTILINE)


def fill(text: str) -> str:
    """The page with its markers replaced. Raises :class:`KeyError` for a marker without a generator."""
    return MARKER.sub(lambda match: GENERATORS[match[1]](match[2]), text)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("source-read", _read)
    app.connect("env-get-outdated", _outdated)
    app.connect("autodoc-process-docstring", as_fields, priority=400)  # napoleon has 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read(app: Any, name: str, source: list[str]) -> None:
    source[0] = fill(source[0])


def _outdated(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    return [name for name in env.found_docs if MARKER.search(Path(env.doc2path(name)).read_text("utf-8"))]
