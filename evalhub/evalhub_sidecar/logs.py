"""JSON lines on standard error, with the server's keys."""

from __future__ import annotations

import logging
import sys
from typing import Any

from evalhub_common.callback_tokens import redact_callback_path, redact_callback_tokens
from evalhub_common.json_log import json_line, level_number
from evalhub_common.log_writer import LogWriter

_logger = logging.getLogger("evalhub_sidecar")


def configure_logs(level: str) -> None:
    """``level`` is a name of :mod:`logging` in any case; anything else means info.

    A thread writes the lines: a stream that is not read blocks nothing, and lines that it cannot take are dropped and counted.
    """
    handler = logging.StreamHandler(LogWriter(sys.stderr, _dropped_line))
    handler.terminator = ""
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.raiseExceptions = False
    number = level_number(level)
    _logger.setLevel(logging.INFO if number is None else number)


def info(message: str, **fields: Any) -> None:
    """Write one line; the fields must not contain credentials."""
    _logger.info(message, extra={"fields": fields})


def warning(message: str, **fields: Any) -> None:
    """Something is degraded."""
    _logger.warning(message, extra={"fields": fields})


def error(message: str, **fields: Any) -> None:
    """Something failed or is lost."""
    _logger.error(message, extra={"fields": fields})


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            key: redact_callback_path(value) if isinstance(value, str) else value
            for key, value in getattr(record, "fields", {}).items()
        }
        if record.exc_info:
            fields["exception"] = redact_callback_tokens(self.formatException(record.exc_info))
        message = redact_callback_tokens(record.getMessage())
        return json_line(record.levelname.lower(), message, fields, record.created)


def _dropped_line(number: int) -> str:
    return json_line(
        "warning", "Log lines were dropped while the log could not be written", {"dropped": number}
    )
