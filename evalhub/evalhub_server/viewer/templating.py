"""The Jinja environment of the pages, created on the first request for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from evalhub_server.viewer import numbers
from evalhub_server.viewer.text import cell, detail, visible

if TYPE_CHECKING:
    from jinja2 import Environment

FILTERS: tuple[Callable[..., str], ...] = (
    cell,
    detail,
    numbers.count,
    numbers.counted,
    numbers.delta,
    numbers.duration,
    numbers.moment,
    numbers.score,
    numbers.score_with_interval,
    numbers.share,
    numbers.size,
)
"""The functions that templates use, by their names."""

MAX_CHARACTERS = 4096
"""Longer text in attributes and sentences is cut."""


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """Render a template. Raises jinja2's errors, which are faults of the template."""
    return (
        _environment()
        .get_template(template, globals={"MISSING": numbers.MISSING})
        .render(values)
        .encode("utf-8", "replace")
    )


@lru_cache(1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("evalhub_server.viewer"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for function in FILTERS:
        environment.filters[function.__name__] = function
    return environment


def _finalize(value: Any) -> Any:
    """Neutralise every text that is not markup, in attributes too; ``cell`` and ``detail`` also explain what was invisible."""
    return (
        visible(value, MAX_CHARACTERS) if isinstance(value, str) and not isinstance(value, Markup) else value
    )
