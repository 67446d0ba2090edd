"""Exceptions of the sidecar.

::

    SidecarError
    ├── ConfigError    it cannot start: exit status 1
    └── Refused        an error response of the sidecar itself: status, message_code, message
"""

from __future__ import annotations


class SidecarError(Exception):
    """Base of all errors below."""


class ConfigError(SidecarError):
    """The configuration cannot be used; the text names the file, the key and the fix."""


class Refused(SidecarError):
    """The sidecar refuses a request instead of forwarding it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def bad_gateway(upstream: str, problem: str) -> Refused:
    """``upstream`` is a name such as ``the model``; its address is not part of the response."""
    return Refused(502, "bad_gateway", f"The sidecar could not get an answer from {upstream}: {problem}.")
