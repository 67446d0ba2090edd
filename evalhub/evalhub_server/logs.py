"""Structured logs: one JSON object per line on standard error, the same keys everywhere."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from evalhub_common.json_log import LEVELS, json_line
from evalhub_server.redaction import Redactor

Mirror = Callable[[str, str, Mapping[str, Any]], None]
"""Called with level, message and fields of each record that is written, after secrets were taken out of it."""

_mirrors: list[Mirror] = []


def configure_logs(level: str, stream: TextIO | None = None, secrets: Iterable[str] = ()) -> None:
    """Send structlog's and the standard library's records to ``stream`` (standard error) as JSON lines.

    ``level`` is debug, info, warn or error; anything else means info, as in the released server. None of the
    ``secrets`` is written, whoever puts it in.
    """
    redactor = Redactor(secrets)
    number = LEVELS.get(level.removesuffix("ing"), logging.INFO)
    out = stream or sys.stderr
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _rendering(redactor)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Lines(out),
        cache_logger_on_first_use=True,
    )
    logging.raiseExceptions = False
    handler = logging.StreamHandler(out)
    handler.setFormatter(_JsonFormatter(redactor))
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def mirror_logs(mirror: Mirror) -> Callable[[], None]:
    """Let ``mirror`` have every record from now on; returns what ends that. It must be quick and raise nothing."""
    _mirrors.append(mirror)
    return lambda: _mirrors.remove(mirror)


class _Lines:
    """Writes lines for structlog. Nobody may read them, a disk may be full: the server's work goes on all the same."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._out.write(line + "\n")
            self._out.flush()

    log = debug = info = warning = error = critical = exception = msg


def _rendering(redactor: Redactor) -> structlog.typing.Processor:
    def render(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, method, event)
        fields = {key: redactor.value(value) for key, value in event.items()}
        return _line(method, fields.pop("event", ""), fields)

    return render


class _JsonFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            fields["exception"] = self._redactor.text(self.formatException(record.exc_info))
        return _line(record.levelname.lower(), self._redactor.text(record.getMessage()), fields)


def _line(level: str, message: str, fields: MutableMapping[str, Any]) -> str:
    for mirror in _mirrors:
        mirror(level, message, fields)
    return json_line(level, message, fields)
