"""Format of log lines for terminals: time, level, message and fields."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

LONGEST_VALUE = 300
"""Characters; the JSON format has the whole value."""

_OMITTED = frozenset({"config", "request_id", "remote_addr"})
"""Fields of the JSON format that are too long, or seldom needed, on a workstation."""

_BOLD, _DIM, _RED, _YELLOW, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
_STYLES = {"warning": _YELLOW, "error": _RED, "critical": _RED}
_LEVEL_WIDTH = len("warning")

_encode = msgspec.json.Encoder(enc_hook=str).encode


def console_line(
    level: str, message: str, fields: Mapping[str, Any], *, styles: bool = False, at_s: float | None = None
) -> str:
    """A log record as one line, without the line feed; an ``exception`` follows, indented, on lines of its own.

    ``at_s`` is when it happened, in seconds since the epoch (default: now); local time is shown. Control characters are escaped, since they could move
    the cursor, change what was printed before, or hide text. ``styles`` adds colours.
    """
    moment = time.strftime("%H:%M:%S", time.localtime(at_s))
    name = level.upper().ljust(_LEVEL_WIDTH)
    if styles:
        moment, name = f"{_DIM}{moment}{_RESET}", f"{_STYLES.get(level, _BOLD)}{name}{_RESET}"
    shown = [
        f"{_key(key, styles=styles)}{_value(value)}"
        for key, value in fields.items()
        if key != "exception" and key not in _OMITTED
    ]
    line = " ".join([moment, name, escaped(message), *shown])
    trace = str(fields.get("exception", "")).splitlines()
    return "\n".join([line, *(f"    {escaped(part)}" for part in trace)])


def escaped(text: str) -> str:
    """``text`` with its control and format characters, and halves of surrogate pairs, as Python's escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _key(key: str, *, styles: bool) -> str:
    key = escaped(key)
    return f"{_DIM}{key}={_RESET}" if styles else f"{key}="


def _value(value: Any) -> str:
    if isinstance(value, str):
        text = value
        if not text or any(character in text for character in " \"='"):
            text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        try:
            text = _encode(value).decode()
        except (UnicodeError, TypeError, ValueError, OverflowError):
            text = str(value)
    text = escaped(text)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
