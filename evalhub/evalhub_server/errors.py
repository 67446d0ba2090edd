"""The server's exceptions.

::

    EvalHubError
    ├── ApiError                  an HTTP error response: status, message_code, message
    ├── StartupError              the server cannot start; exit status 1
    │   ├── SettingsError         a configuration value is wrong
    │   └── PluginError           a plugin is missing, broken, incompatible or duplicated
    ├── LaunchError               a runtime could not start a workload; final
    ├── RuntimeUnavailable        a runtime is temporarily unable to do something; retried
    │   └── RuntimeRefused        what it depends on refuses that, such as a cluster without the rights; retried for a while
    ├── SampleStoreUnavailable    the store of samples is temporarily unable to do something; retried
    ├── ExportRefused             an export cannot succeed; not retried
    └── StorageError              a storage could not read or write
        ├── StorageUnavailable    temporary: full, locked, unreachable
        │   └── StorageLost       the database was removed, replaced or damaged; the server stops
        ├── LeadershipLost        another server leads, or this one's lease has expired
        ├── NotFound              there is no such record, or it belongs to another tenant
        └── AlreadyExists         a record with that id exists

A text states what happened, to which object, and what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec


class EvalHubError(Exception):
    """Base class of the server's exceptions."""


class FieldError(msgspec.Struct, frozen=True):
    """One fault of a request.

    ``path`` is a field of the body (``model.url``, ``benchmarks[0].id``; empty for the whole body), a query parameter or a
    header; ``message`` is a phrase about it ("is required").
    """

    path: str
    message: str


class ApiError(EvalHubError):
    """An HTTP error response.

    ``code`` is the contract's ``message_code``, ``message`` its text; ``headers`` are added to the response. ``reason`` is
    the part of the message that is particular to the request, by default all of it. ``errors`` are the single faults of
    the request, if they are known.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        reason: str = "",
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.reason = reason or message
        self.errors = tuple(errors)


class StartupError(EvalHubError):
    """The server cannot start; the text is shown to the user unchanged."""


class SettingsError(StartupError):
    """A configuration value is wrong.

    ``message`` begins with the key path and states what is wrong and how to fix it. ``source`` is the file or the
    environment variable that set the value, ``line`` its line from 1. If both are left out (``""`` and 0), the core
    looks the key up. The text of the exception contains all three.
    """

    def __init__(self, message: str, source: str = "", line: int = 0) -> None:
        super().__init__(located(source, line, message))
        self.message = message
        self.source = source
        self.line = line


def located(source: str, line: int, message: str) -> str:
    """``source:line: message``, without the line if it is 0 and without the source if it is empty."""
    location = f"{source}:{line}" if line else source
    return f"{location}: {message}" if location else message


class PluginError(StartupError):
    """A plugin is missing, broken, incompatible or duplicated."""


class StoppedBySignal(SystemExit):
    """Raised by the handler of a stop signal while nothing has to be closed; never by a plugin."""


class LaunchError(EvalHubError):
    """A runtime could not start a workload; the text becomes the benchmark's error message."""


class SampleStoreUnavailable(EvalHubError):
    """The store of samples cannot be reached, or refuses what was requested. The operation may be repeated.

    The text is a clause that names the store, what it reported and the remedy.
    """


class ExportRefused(EvalHubError):
    """An export cannot succeed, because what the job requests is wrong or not allowed; it is not retried.

    With ``retry_for_s``, it can succeed once a change has been undone at the target, such as the deletion of an
    experiment: it is retried until so many seconds after the first failure. Clients see the text in the job's results.
    """

    def __init__(self, message: str, *, retry_for_s: float = 0) -> None:
        super().__init__(message)
        self.retry_for_s = retry_for_s


class RuntimeUnavailable(EvalHubError):
    """A runtime is temporarily unable to do what was requested; the call is retried.

    ``reason`` is a stable code; with the text it becomes the warning of the waiting benchmark.
    """

    def __init__(self, message: str, reason: str = "runtime_unavailable") -> None:
        super().__init__(message)
        self.reason = reason


class RuntimeRefused(RuntimeUnavailable):
    """What a runtime depends on refuses what was requested, for example for lack of a right. Not for an outage.

    To stop or to find a workload is retried until ``retry_for_s`` seconds after the first refusal of a series, since rights
    may come back; the benchmark then ends with ``reason`` and the text, which names what is missing.
    """

    def __init__(self, message: str, reason: str = "runtime_refused", *, retry_for_s: float = 0) -> None:
        super().__init__(message, reason)
        self.retry_for_s = retry_for_s


class StorageError(EvalHubError):
    """A storage could not read or write; the failed operation stored nothing."""


class StorageUnavailable(StorageError):
    """A storage temporarily cannot read or write: it is full, locked or unreachable. The operation may be retried.

    If the connection was lost during a commit, the outcome is unknown: retry only what may happen twice.
    """


class StorageLost(StorageUnavailable):
    """The database was removed, replaced, moved or damaged while the server used it. Nothing can be written any more.

    Clients get 503 until the server has stopped. The text states what happened and what to do.
    """


class LeadershipLost(StorageError):
    """A write or a renewal under a lease that has expired, was released or was acquired by another server.

    Nothing was written, and nothing can be written under that lease any more.
    """


class NotFound(StorageError):
    """There is no such record, or it belongs to another tenant."""


class AlreadyExists(StorageError):
    """A record with that id exists already."""
