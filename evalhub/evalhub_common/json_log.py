"""Format of log lines: one JSON object per line with ``level``, ``ts``, ``msg`` and further keys."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

DELETE = "\x7f"


def level_number(name: str) -> int | None:
    """Number of a level that the standard library's logging knows, by its name in any case; None for other names."""
    return logging.getLevelNamesMapping().get(name.strip().upper())


def json_line(level: str, message: str, fields: Mapping[str, Any], at_s: float | None = None) -> str:
    """A log record as one line of JSON, without the line feed.

    ``at_s`` is when it happened, in seconds since the epoch (default: now). Values that JSON does not have are written as
    text; what could move the cursor of a terminal or hide text is escaped.
    """
    seconds, milliseconds = divmod(int((time.time() if at_s is None else at_s) * 1000), 1000)
    moment = f"{_second(seconds)}.{milliseconds:03d}Z"
    line = {"level": level, "ts": moment, "msg": message, **fields}
    encode = _encoder()
    try:
        text = encode(line).decode()
    except (UnicodeError, TypeError, ValueError, OverflowError):  # such as a file name that is not UTF-8
        text = encode({str(key): _printable(value) for key, value in line.items()}).decode()
    return text if text.isascii() and DELETE not in text else "".join(map(_escaped, text))


@lru_cache(1)
def _second(timestamp: int) -> str:
    """Cached, since most lines have the second of the line before."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(timestamp))


@cache
def _encoder() -> Callable[[Any], bytes]:
    import msgspec  # a tenth of the time of the standard library's json; each request writes a line

    return msgspec.json.Encoder(enc_hook=str).encode


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _printable(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()
