"""Every exception that the adapter raises on purpose, and what each one leads to.

::

    QuickstartError
    ├── JobSpecUnusable      nobody can be told: message on stderr, exit status 2
    ├── BenchmarkFailed      a ``failed`` event with a message and a code, exit status 1
    │   ├── NoResult           every sample failed
    │   ├── JobInvalid         a value in job.json is wrong
    │   └── ModelUnusable      the model endpoint cannot be used at all
    ├── RequestFailed        one request to the model failed for good: its sample scores 0
    ├── JobClosed            the server says that the job is over (409): stop quietly, exit status 0
    ├── EventRefused         the server refuses our events for another reason: exit status 1
    └── ConnectionFailed     one HTTP exchange failed below HTTP; the callers above translate it
"""

from __future__ import annotations

from typing import Literal

FailureKind = Literal["refused", "name", "tls", "timeout", "reset", "protocol", "network"]


class QuickstartError(Exception):
    """Base of all errors below."""


class JobSpecUnusable(QuickstartError):
    """job.json is missing, unreadable or does not say where to report."""


class BenchmarkFailed(QuickstartError):
    """The benchmark cannot produce a result.

    ``code`` is a stable word for programs, the text is for people.
    """

    code = "benchmark_failed"


class NoResult(BenchmarkFailed):
    """Not one sample was answered."""

    code = "all_samples_failed"


class JobInvalid(BenchmarkFailed):
    """A value in job.json has a wrong type or is out of range, or names something that does not exist."""

    code = "job_invalid"


class ModelUnusable(BenchmarkFailed):
    """The model endpoint does not answer, or refuses us; the text says what to check."""

    code = "model_unusable"


class RequestFailed(QuickstartError):
    """A request to the model failed after all its attempts.

    ``status`` is the HTTP status of the last attempt, or None if there was none; ``kind`` says then what went
    wrong.
    """

    def __init__(self, text: str, *, attempts: int, status: int | None, kind: FailureKind | None) -> None:
        super().__init__(text)
        self.attempts = attempts
        self.status = status
        self.kind = kind


class JobClosed(QuickstartError):
    """The job was cancelled or finished while we worked (HTTP 409)."""


class EventRefused(QuickstartError):
    """The server answered an event with an error that repeating cannot cure."""


class ConnectionFailed(QuickstartError):
    """No HTTP answer was received. ``kind`` is the cause in one word."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind: FailureKind = kind
