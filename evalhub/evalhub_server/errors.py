"""Every error that the server raises on purpose.

::

    EvalHubError
    ├── ApiError                  becomes an HTTP answer: status, message_code, message
    ├── StartupError              the server cannot start; exit status 1
    │   ├── SettingsError         a configuration value is wrong
    │   └── PluginError           a plugin is missing, broken, incompatible or duplicated
    ├── LaunchError               a runtime could not start a workload
    ├── RuntimeUnavailable        a runtime cannot do it just now; it is asked again
    ├── ExportRefused             an export cannot succeed, however often it is tried
    └── StorageError              a storage could not read or write
        ├── StorageUnavailable    it cannot just now, whatever it is asked: full, locked, away
        ├── NotFound              the record is not there (any more), or belongs to another tenant
        └── AlreadyExists         a record with that id is stored already

Texts say what happened, to which object, and what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping


class EvalHubError(Exception):
    """Base of all of them."""


class ApiError(EvalHubError):
    """An answer that is not a success.

    ``code`` is the contract's ``message_code``; ``message`` is for people; ``headers`` are added to the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


class StartupError(EvalHubError):
    """The server cannot start; the text is shown to the user as it is."""


class SettingsError(StartupError):
    """A configuration value is wrong.

    ``message`` begins with the key path and says what is wrong and how to mend it. ``source`` is the file (or
    variable) that set the value and ``line`` its line from 1, 0 if unknown; who knows neither leaves them out, and
    the core looks the key up. The text of the exception has all of it.
    """

    def __init__(self, message: str, source: str = "", line: int = 0) -> None:
        super().__init__(located(source, line, message))
        self.message = message
        self.source = source
        self.line = line


def located(source: str, line: int, message: str) -> str:
    """``source:line: message``, in which source and line may be unknown."""
    place = f"{source}:{line}" if line else source
    return f"{place}: {message}" if place else message


class PluginError(StartupError):
    """A plugin is missing, broken, incompatible or duplicated."""


class LaunchError(EvalHubError):
    """A runtime could not start a workload; the text becomes the benchmark's error message."""


class ExportRefused(EvalHubError):
    """An export cannot succeed, however often it is tried: what the job asks for is wrong or not allowed.

    The text is shown to the client with the job's results.
    """


class RuntimeUnavailable(EvalHubError):
    """A runtime cannot do what it was asked just now, and nobody knows more; it is asked again.

    ``reason`` is a stable word; with the text it becomes the benchmark's warning while it waits.
    """

    def __init__(self, message: str, reason: str = "runtime_unavailable") -> None:
        super().__init__(message)
        self.reason = reason


class StorageError(EvalHubError):
    """A storage could not read or write; nothing of the failed operation is stored."""


class StorageUnavailable(StorageError):
    """A storage cannot read or write just now, whatever it is asked; once that is mended, it can be asked again.

    Where it broke in the very moment of a commit, nobody knows whether that is stored: what is repeated must be
    something that may happen twice.
    """


class NotFound(StorageError):
    """The record is not there (any more), or belongs to another tenant."""


class AlreadyExists(StorageError):
    """A record with that id is stored already."""
