"""JSON lines on standard error, with the server's keys."""

from __future__ import annotations

import contextlib
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_encode = msgspec.json.Encoder(enc_hook=str).encode
_logger = logging.getLogger("evalhub_sidecar")


def configure_logs(level: str) -> None:
    """``level`` is debug, info, warn or error; anything else means info."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.raiseExceptions = False
    _logger.setLevel(LEVELS.get(level.lower(), logging.INFO))


def info(message: str, **fields: Any) -> None:
    """One line; the fields hold no credentials."""
    _logger.info(message, extra={"fields": fields})


def warning(message: str, **fields: Any) -> None:
    """Something works less well than it was meant to."""
    _logger.warning(message, extra={"fields": fields})


def error(message: str, **fields: Any) -> None:
    """Something is lost or will not work."""
    _logger.error(message, extra={"fields": fields})


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        ts = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "level": record.levelname.lower(),
            "ts": ts.replace("+00:00", "Z"),
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        with contextlib.suppress(UnicodeError, TypeError, ValueError):
            return _encode(line).decode()
        return _encode({key: ascii(value) for key, value in line.items()}).decode()
