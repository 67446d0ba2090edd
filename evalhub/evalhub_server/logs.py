"""Structured logs on standard error, as JSON lines or, on a terminal, in a format for people."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from functools import partial
from typing import Any, TextIO

import structlog

from evalhub_common.json_log import json_line, level_number
from evalhub_server.console_log import console_line
from evalhub_server.settings.secrets import Redactor

Line = Callable[[str, str, Mapping[str, Any]], str]
"""Format of a line: level, message and fields → text."""

Mirror = Callable[[str, str, Mapping[str, Any]], None]
"""Called with level, message and fields of each record that is written, after redaction."""

_mirrors: list[Mirror] = []


def configure_logs(
    level: str, stream: TextIO | None = None, secrets: Iterable[str] = (), *, log_format: str = "auto"
) -> None:
    """Send the records of structlog and the standard library to ``stream`` (default: standard error).

    ``level`` is a name of :mod:`logging` in any case; anything else means info, as in the released server.
    ``log_format`` is ``json``, ``console``, or ``auto``: console if ``stream`` is a terminal. ``secrets`` are values that
    are replaced in every record.
    """
    redactor = Redactor(secrets)
    number = level_number(level)
    number = logging.INFO if number is None else number
    out = stream or sys.stderr
    line: Line = json_line
    if is_console(log_format, out):
        line = partial(console_line, styles=_takes_styles(out))
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _rendering(redactor, line)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Lines(out),
        cache_logger_on_first_use=True,
    )
    logging.raiseExceptions = False
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Formatter(redactor, line))
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def is_console(log_format: str, stream: TextIO) -> bool:
    """Are lines for people (true) or JSON?"""
    return log_format == "console" or (log_format == "auto" and stream.isatty())


def mirror_logs(mirror: Mirror) -> Callable[[], None]:
    """Pass every record from now on to ``mirror``, which must be quick and raise nothing; returns a function that stops it."""
    _mirrors.append(mirror)
    return lambda: _mirrors.remove(mirror)


class _Lines:
    """structlog's output. A closed pipe or a full disk loses lines, and does not stop the server."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._out.write(line + "\n")
            self._out.flush()

    log = debug = info = warning = error = critical = exception = msg


def _rendering(redactor: Redactor, line: Line) -> structlog.typing.Processor:
    def render(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, method, event)
        fields = {key: redactor.value(value) for key, value in event.items()}
        return _written(line, method, fields.pop("event", ""), fields)

    return render


class _Formatter(logging.Formatter):
    """The same lines for records of the standard library, with the name of their ``logger``."""

    def __init__(self, redactor: Redactor, line: Line) -> None:
        super().__init__()
        self._redactor = redactor
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            fields["exception"] = self._redactor.text(self.formatException(record.exc_info))
        message = self._redactor.text(record.getMessage())
        return _written(self._line, record.levelname.lower(), message, fields)


def _written(line: Line, level: str, message: str, fields: Mapping[str, Any]) -> str:
    for mirror in _mirrors:
        mirror(level, message, fields)
    return line(level, message, fields)


def _takes_styles(stream: TextIO) -> bool:
    """Follows https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
