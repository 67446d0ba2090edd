"""The Jinja environment of the pages, created on the first request for one."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from evalhub_server.engine.size_cache import SizeCache
from evalhub_server.viewer import compare_words, numbers
from evalhub_server.viewer.marks import MARKS, WORDS
from evalhub_server.viewer.text import as_text, cell, detail, visible

if TYPE_CHECKING:
    from jinja2 import Environment, Template

FILTERS: tuple[Callable[..., str], ...] = (
    as_text,
    cell,
    compare_words.confidence,
    compare_words.difference,
    compare_words.p_value,
    compare_words.summary,
    compare_words.verdict_class,
    compare_words.verdict_word,
    detail,
    numbers.about,
    numbers.amount,
    numbers.count,
    numbers.counted,
    numbers.delta,
    numbers.duration,
    numbers.moment,
    numbers.sample_counts,
    numbers.score,
    numbers.score_with_interval,
    numbers.share,
    numbers.size,
)
"""The functions that templates use, by their names."""

_fragments: SizeCache[Hashable, Markup] = SizeCache(1_000_000)  # characters


def fragment(*key: Hashable, caller: Callable[[], Markup]) -> Markup:
    """The body of a ``{% call fragment(…) %}``, rendered once for equal keys. The key has everything that the body shows."""
    found = _fragments.get(key)
    if found is None:
        found = caller()
        _fragments.put(key, found, len(found))
    return found


GLOBALS = {"MISSING": numbers.MISSING, "MARKS": MARKS, "WORDS": WORDS, "fragment": fragment}
"""What all templates show in the same way, and :func:`fragment`."""

TEMPLATES = Path(__file__).parent / "templates"
_SPACE_BETWEEN = re.compile(
    r"(</(?:td|th|tr|thead|tbody|li|ul)>|<(?:tr|thead|tbody|ul)(?: [^<>]*)?>)\n\s*(?=[<{])"
)

_REFERENCE = re.compile(r"\{% *(?:extends|include|import|from) \"([^\"]+)\"")
_loaded: set[str] = set()

MAX_CHARACTERS = 4096
"""Longer text in attributes and sentences is cut."""


STEP_S = 0.0005
"""How long rendering occupies the event loop at a time; another request waits so long."""


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """Render a small template. Raises jinja2's errors, which are faults of the template."""
    return _joined(_template(template).generate(values))


async def render_in_steps(template: str, values: Mapping[str, Any]) -> bytes:
    """Render a template, and let other tasks run in between.

    A thread would hold the interpreter lock for longer, and as often as an answer to another request needs it. Only templates that
    are loaded for the first time, and perhaps compiled, are loaded in one.
    """
    if template not in _loaded:
        await asyncio.to_thread(load_templates, [template])
    pieces: list[str] = []
    end = time.perf_counter() + STEP_S
    for piece in _template(template).generate(values):
        pieces.append(piece)
        if time.perf_counter() > end:
            await asyncio.sleep(0)
            end = time.perf_counter() + STEP_S
    return _joined(pieces)


def _joined(pieces: Iterable[str]) -> bytes:
    return "".join(pieces).encode("utf-8", "replace")


def load_templates(names: Iterable[str]) -> None:
    """Load templates and all that they include, import or extend."""
    for name in names:
        if name not in _loaded:
            _template(name)
            load_templates(references(name))
            _loaded.add(name)


def references(template: str) -> list[str]:
    """The templates that one includes, imports or extends."""
    return _REFERENCE.findall((TEMPLATES / template).read_text("utf-8"))


def _template(name: str) -> Template:
    return _environment().get_template(name, globals=GLOBALS)


@lru_cache(1)
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    from evalhub_server.viewer.compiled_templates import CompiledTemplates

    environment = Environment(
        loader=FunctionLoader(_load),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        bytecode_cache=CompiledTemplates(Path(__file__), Path(__file__).parent.rglob("*.py")),
    )
    for function in FILTERS:
        environment.filters[function.__name__] = function
    return environment


def _load(name: str) -> tuple[str, str, Callable[[], bool]] | None:
    """The source of a template without space between cells and rows, which would be a sixth of the nodes of a page."""
    path = TEMPLATES / name
    if not path.is_file():
        return None
    return _SPACE_BETWEEN.sub(r"\1", path.read_text("utf-8")), str(path), lambda: True


def _finalize(value: Any) -> Any:
    """Neutralise every text that is not markup, in attributes too; ``cell`` and ``detail`` also explain what was invisible."""
    if type(value) is int:
        return str(value)  # escaped in a fifth of the time
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, MAX_CHARACTERS)
    return value
