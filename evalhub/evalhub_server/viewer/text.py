"""Foreign text (of models, data sets, adapters, requests, logs) in a form that is safe and honest to show.

Control, bidirectional, zero-width and other invisible characters become visible, so that no text reorders, hides or
imitates what stands beside it. :func:`cell` and :func:`detail` return HTML; :func:`visible` returns text for titles,
attributes and Markdown, which templates still escape.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec
from markupsafe import Markup, escape

from evalhub_server.viewer.invisible import (
    CANDIDATE,
    SPECIAL,
    abbreviation,
    control_picture,
    full_name,
    tag_text,
)

CELL_CHARACTERS = 160
"""Maximum length of a text in a table cell, a title or an attribute."""
DETAIL_CHARACTERS = 64 * 1024
"""Maximum length of a text on a page of its own."""
MAX_CHIPS = 500
"""Invisible characters of one text that get their full name; further ones are shown by their abbreviation alone."""


class Shown(NamedTuple):
    """Neutralised text. ``omitted``: characters that were cut off; ``invisible``: invisible ones in the rest."""

    html: Markup
    invisible: int
    omitted: int


def cell(text: str, limit: int = CELL_CHARACTERS) -> Markup:
    """One line for a table cell, isolated from its surroundings, with what was cut and how much is invisible.

    Line breaks are shown as ``⏎``.
    """
    if len(text) <= limit and _is_ordinary(text):
        return Markup(f'<bdi dir="auto">{escape(text)}</bdi>')  # noqa: S704 (escaped)
    return _isolated(neutralised(one_line(text, limit)), len(text) - limit)


def detail(text: str, limit: int = DETAIL_CHARACTERS) -> Markup:
    """Text of several lines, isolated from its surroundings, with what was cut and how much is invisible.

    Tabs and line feeds are kept: show it with ``white-space: pre-wrap``.
    """
    return _isolated(neutralised(text, limit), len(text) - limit)


def as_text(value: object) -> str:
    """A JSON value as text: a text as it is, everything else encoded."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def visible(text: str, limit: int = CELL_CHARACTERS) -> str:
    """One line of text without markup and invisible characters, for titles, attributes and Markdown."""
    if len(text) <= limit and _is_ordinary(text):
        return text
    shown = SPECIAL.sub(lambda match: _plain(match.lastgroup or "", match[0]), one_line(text, limit))
    return f"{shown}…" if len(text) > limit else shown


def one_line(text: str, limit: int) -> str:
    """The first ``limit`` characters, with symbols in place of line breaks."""
    return text[:limit].replace("\n", "⏎ ").replace("\t", " ")


def neutralised(text: str, limit: int = DETAIL_CHARACTERS, *, chips: int = MAX_CHIPS) -> Shown:
    """HTML of the first ``limit`` characters, without an element around it. Tabs and line feeds are kept.

    ``chips``: number of invisible characters with their full name.
    """
    kept = text[:limit]
    omitted = len(text) - len(kept)
    if CANDIDATE.search(kept) is None:
        return Shown(escape(kept), 0, omitted)
    parts: list[str] = []
    end = invisible = 0
    for match in SPECIAL.finditer(kept):
        if match.start() > end:
            parts.append(escape(kept[end : match.start()]))
        end = match.end()
        if match.lastgroup not in ("control", "surrogate", "marks"):
            invisible += end - match.start()
        kind, characters = match.lastgroup or "", match[0]
        named = len(parts) < 2 * chips
        parts.append((_chip_of_one if len(characters) == 1 else _chip)(kind, characters, named))
    parts.append(escape(kept[end:]))
    return Shown(Markup("".join(parts)), invisible, omitted)  # noqa: S704 (escaped parts)


def invisible_badge(count: int) -> Markup:
    """The badge of text with invisible characters; empty without any."""
    if not count:
        return Markup()
    noun = "character" if count == 1 else "characters"
    return Markup(f'<span class="invisible-badge">{count:,} invisible {noun}</span>')  # noqa: S704 (a number)


def omitted_note(count: int) -> Markup:
    """The sign that text was cut; empty if it was not."""
    if count <= 0:
        return Markup()
    noun = "character" if count == 1 else "characters"
    return Markup(f'<span class="omitted muted">… {count:,} more {noun}</span>')  # noqa: S704 (a number)


def _is_ordinary(text: str) -> bool:
    """Whether a text is one line without anything to replace."""
    return text.isprintable() and (text.isascii() or CANDIDATE.search(text) is None)


def _isolated(shown: Shown, omitted: int) -> Markup:
    html = f'<bdi dir="auto">{shown.html}</bdi>'
    if omitted > 0:
        html += f" {omitted_note(omitted)}"
    if shown.invisible:
        html += f" {invisible_badge(shown.invisible)}"
    return Markup(html)  # noqa: S704 (escaped)


def _chip(kind: str, characters: str, named: bool) -> Markup:
    """The replacement of characters, with their full name if it is ``named``."""
    plain = _plain(kind, characters)
    if not named:
        return escape(plain)
    return Markup('<span class="chip" title="{}">{}</span>').format(_title(kind, characters), plain)


_chip_of_one = lru_cache(maxsize=1024)(_chip)


def _plain(kind: str, characters: str) -> str:
    """What is shown in place of characters."""
    match kind:
        case "control":
            return control_picture(characters) or f"⟨{abbreviation(characters)}⟩"
        case "surrogate":
            return "\ufffd"
        case "tags":
            return f"⟨TAG {tag_text(characters)}⟩"
        case "marks":
            return f"⟨+{len(characters):,} marks⟩"
        case _:
            return f"⟨{abbreviation(characters)}⟩"


def _title(kind: str, characters: str) -> str:
    match kind:
        case "surrogate":
            return f"U+{ord(characters):04X} half of a surrogate pair"
        case "tags":
            return f"{len(characters):,} invisible tag characters"
        case "marks":
            return f"{len(characters):,} more combining marks on one character"
        case _:
            return full_name(characters)
