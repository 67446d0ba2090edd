"""Structured logs on standard error, as JSON lines or, on a terminal, in a format for people."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from functools import partial
from typing import Any, TextIO

import structlog
from msgspec import Struct

from evalhub_common.json_log import json_line, level_number
from evalhub_common.log_writer import LogWriter
from evalhub_server.console_log import console_line
from evalhub_server.settings.secrets import Redactor

Line = Callable[..., str]
"""Format of a line: level, message, fields and, as ``at_s``, its time → text."""

_Record = str | Callable[[], str]

Mirror = Callable[[str, str, Mapping[str, Any]], None]
"""Called with level, message and fields of each record that is written, after redaction."""

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is handled, which each record has as ``request_id``."""

_mirrors: list[Mirror] = []
_outputs: list[_Output] = []  # one, once logs are configured
_IMMUTABLE = frozenset({str, int, float, bool, type(None)})


def configure_logs(
    level: str, stream: TextIO | None = None, secrets: Iterable[str] = (), *, log_format: str = "auto"
) -> None:
    """Send the records of structlog and the standard library to ``stream`` (default: standard error).

    ``level`` is a name of :mod:`logging` in any case; anything else means info, as in the released server.
    ``log_format`` is ``json``, ``console``, or ``auto``: console if ``stream`` is a terminal. ``secrets`` are values that
    are replaced in every record.

    A thread writes the lines, and formats most of them: a stream that is not read blocks nothing. Lines that it cannot take
    are dropped, and counted in a later line. :func:`flush_logs` runs at exit.
    """
    flush_logs()
    redactor = Redactor(secrets)
    number = level_number(level)
    number = logging.INFO if number is None else number
    out = stream or sys.stderr
    line: Line = json_line
    if is_console(log_format, out):
        line = partial(console_line, styles=_takes_styles(out))
    writer = LogWriter(out, partial(_dropped_line, line))
    _outputs[:] = [_Output(writer, redactor, line, number)]
    structlog.configure(
        processors=[_rendering(redactor, line)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Lines(writer),
        cache_logger_on_first_use=True,
    )
    logging.raiseExceptions = False
    handler = logging.StreamHandler(writer)
    handler.terminator = ""
    handler.setFormatter(_Formatter(redactor, line))
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def is_console(log_format: str, stream: TextIO) -> bool:
    """Are lines for people (true) or JSON?"""
    return log_format == "console" or (log_format == "auto" and stream.isatty())


def mirror_logs(mirror: Mirror) -> Callable[[], None]:
    """Pass every record from now on to ``mirror``, which must be quick and raise nothing; returns a function that stops it."""
    _mirrors.append(mirror)
    return lambda: _mirrors.remove(mirror)


def write_text(text: str) -> None:
    """Write ``text`` and a line feed between the lines of the log, unless logs are not configured."""
    for output in _outputs:
        output.writer.write(text)


def is_written(level: int) -> bool:
    """Whether lines of a level of :mod:`logging` are written."""
    return bool(_outputs) and level >= _outputs[0].level


def write_request(level: str, message: str, fields: Mapping[str, str | float]) -> None:
    """Write the line of a request, which may wait a moment for those of other requests. The caller has checked :func:`is_written`.

    Every request has one, so it does without structlog, which has four steps for each line and as many dictionaries.
    """
    for output in _outputs:
        redacted = output.redactor.value(fields)
        if _mirrors:
            _mirror(level, message, redacted)
        output.writer.write_later(partial(output.line, level, message, redacted, at_s=time.time()))


def flush_logs() -> None:
    """Wait until everything is written, but not long for a stream that is not read."""
    for output in _outputs:
        output.writer.drain()


class _Output(Struct, frozen=True):
    """Where :func:`configure_logs` sends lines, and how. ``level`` is the lowest that is written."""

    writer: LogWriter
    redactor: Redactor
    line: Line
    level: int


class _Lines:
    """structlog's output. Ordinary lines may wait a moment for others; what may explain a crash is written at once."""

    def __init__(self, writer: LogWriter) -> None:
        self.debug = self.info = writer.write_later
        self.msg = self.log = self.warning = self.error = self.critical = self.exception = writer.write


def _rendering(redactor: Redactor, line: Line) -> structlog.typing.Processor:
    def render(
        logger: object, method: str, event: MutableMapping[str, Any]
    ) -> tuple[tuple[_Record], dict[str, Any]]:
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, method, event)
        request_id = REQUEST_ID.get()
        fields = redactor.value({"request_id": request_id, **event} if request_id else event)
        return (_record(line, method, fields.pop("event", ""), fields),), {}

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
        message, level = self._redactor.text(record.getMessage()), record.levelname.lower()
        _mirror(level, message, fields)
        return self._line(level, message, fields)


def _record(line: Line, level: str, message: Any, fields: Mapping[str, Any]) -> _Record:
    """The line, formatted later if nothing can change its fields until then."""
    _mirror(level, message, fields)
    formatted = partial(line, level, message, fields, at_s=time.time())
    if type(message) is str and _IMMUTABLE.issuperset(map(type, fields.values())):
        return formatted
    return formatted()


def _mirror(level: str, message: Any, fields: Mapping[str, Any]) -> None:
    for mirror in _mirrors:
        mirror(level, message, fields)


def _dropped_line(line: Line, number: int) -> str:
    message = "Log lines were dropped while the log could not be written"
    return line("warning", message, {"dropped": number}, at_s=time.time())


def _takes_styles(stream: TextIO) -> bool:
    """Follows https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
