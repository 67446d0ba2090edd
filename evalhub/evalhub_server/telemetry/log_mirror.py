"""Conversion of log records to OpenTelemetry."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from opentelemetry._logs import Logger, SeverityNumber

_SEVERITIES = {
    "debug": (SeverityNumber.DEBUG, "DEBUG"),
    "info": (SeverityNumber.INFO, "INFO"),
    "warning": (SeverityNumber.WARN, "WARN"),
    "error": (SeverityNumber.ERROR, "ERROR"),
    "critical": (SeverityNumber.FATAL, "FATAL"),
}
_NAMES = {"exception": "exception.stacktrace"}
"""Field → attribute of OpenTelemetry's semantic conventions."""

_json = msgspec.json.Encoder(enc_hook=str)


class LogMirror:
    """Passes every log record to ``logger``, in the current trace and span."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._local = threading.local()

    def __call__(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        if getattr(self._local, "inside", False):
            return  # a record that the SDK logs while it handles one would recurse
        self._local.inside = True
        try:
            severity, text = _SEVERITIES.get(level, (SeverityNumber.UNSPECIFIED, level))
            self._logger.emit(
                timestamp=time.time_ns(),
                severity_number=severity,
                severity_text=text,
                body=_encodable(message),
                attributes={_NAMES.get(key, key): _plain(value) for key, value in fields.items()},
            )
        finally:
            self._local.inside = False


def _plain(value: Any) -> str | int | float | bool:
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, int | float):
        return value if -(2**63) <= value < 2**63 else str(value)
    try:
        return _json.encode(value).decode()
    except (UnicodeError, TypeError, ValueError, OverflowError):
        return _encodable(str(value))


def _encodable(text: str) -> str:
    """``text`` without lone surrogates (a file name that is not UTF-8), which would make the whole batch fail."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
