"""Exceptions of an adapter, and what each one results in.

::

    AdapterError
    ├── JobSpecUnusable      cannot be reported: message on stderr, exit status 2
    ├── BenchmarkFailed      a ``failed`` event with a message and a code, exit status 1
    │   ├── NoResult           every sample failed
    │   ├── JobInvalid         a value in job.json is wrong
    │   ├── ModelUnusable      the model endpoint cannot be used
    │   ├── DataUnavailable    a data set cannot be loaded
    │   ├── FrameworkMissing   the framework or a part of it is not installed
    │   └── UnexpectedError    an error in the adapter or its framework
    ├── RequestFailed        one request to the model failed finally
    ├── JobClosed            the job is closed (409): exit status 0
    ├── EventRefused         the server refuses events for another reason: exit status 1
    └── ConnectionFailed     no HTTP response; callers translate it
"""

from __future__ import annotations

from typing import Literal

FailureKind = Literal["refused", "name", "tls", "timeout", "reset", "protocol", "network"]


class AdapterError(Exception):
    """Base of all errors below."""


class JobSpecUnusable(AdapterError):
    """job.json is missing, unreadable or without a usable callback URL."""


class BenchmarkFailed(AdapterError):
    """The benchmark cannot produce a result.

    ``code`` is a stable identifier for programs, the text is for people.
    """

    code = "benchmark_failed"


class NoResult(BenchmarkFailed):
    """All samples failed."""

    code = "all_samples_failed"


class JobInvalid(BenchmarkFailed):
    """A value in job.json has a wrong type or is out of range, or refers to something that does not exist."""

    code = "job_invalid"


class ModelUnusable(BenchmarkFailed):
    """The model endpoint does not respond, refuses requests or lacks a feature; the text names what to check."""

    code = "model_unusable"


class DataUnavailable(BenchmarkFailed):
    """A data set cannot be loaded: no network and no copy, or no permission."""

    code = "data_unavailable"


class FrameworkMissing(BenchmarkFailed):
    """The evaluation framework, or a package that the benchmark needs, is not installed in this environment."""

    code = "framework_missing"


class UnexpectedError(BenchmarkFailed):
    """Unexpected error in the adapter or its framework."""

    code = "adapter_error"


class RequestFailed(AdapterError):
    """A request to the model failed in all attempts.

    ``status`` is the HTTP status of the last attempt, or None without a response; ``kind`` is then the
    cause.
    """

    def __init__(self, text: str, *, attempts: int, status: int | None, kind: FailureKind | None) -> None:
        super().__init__(text)
        self.attempts = attempts
        self.status = status
        self.kind = kind


class JobClosed(AdapterError):
    """The job was cancelled or finished meanwhile (HTTP 409)."""


class EventRefused(AdapterError):
    """The server refused an event, and a retry would not help."""


class ConnectionFailed(AdapterError):
    """No HTTP response was received. ``kind`` is the cause."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind: FailureKind = kind
