"""Every error that the sidecar raises on purpose.

::

    SidecarError
    ├── ConfigError    it cannot start: exit status 1
    └── Refused        a request is answered by the sidecar itself: status, message_code, message
"""

from __future__ import annotations


class SidecarError(Exception):
    """Base of all of them."""


class ConfigError(SidecarError):
    """The configuration cannot be used; the text names the file, the key and the fix."""


class Refused(SidecarError):
    """An answer that comes from here and not from where the request wanted to go."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def bad_gateway(whom: str, problem: str) -> Refused:
    """``whom`` is what the request was for, such as ``the model``; its address stays out of the answer."""
    return Refused(502, "bad_gateway", f"The sidecar could not get an answer from {whom}: {problem}.")
