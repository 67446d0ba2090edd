"""Structured logs: one JSON object per line on standard error, the same keys everywhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
DELETE = "\x7f"
_encode = msgspec.json.Encoder(enc_hook=str).encode


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records to ``stream`` (standard error) as JSON lines.

    ``level`` is debug, info, warn or error; anything else means info, as in the released server.
    """
    number = _LEVELS.get(level.removesuffix("ing"), logging.INFO)
    out = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def _render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    level, message = event.pop("level", "info"), event.pop("event", "")
    return _line(level, message, event)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _line(record.levelname.lower(), record.getMessage(), fields)


def _line(level: str, message: str, fields: MutableMapping[str, Any]) -> str:
    ts = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = _encode({"level": level, "ts": ts, "msg": message, **fields}).decode("utf-8", "replace")
    return line if line.isascii() and DELETE not in line else "".join(map(_visible, line))


def _visible(character: str) -> str:
    """What could still move a terminal's cursor or hide text goes as JSON's escape; msgspec has escaped C0."""
    if character.isprintable():
        return character
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
