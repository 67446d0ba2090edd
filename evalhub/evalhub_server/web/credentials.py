"""The server's bearer token, and the tokens in callback URLs, with which adapters report without it.

Adapters never get the server's token. The callback URL of a job contains a token of its own,
``http://localhost:8080/callback/TOKEN``, derived from the server's token and the job's id by HMAC. It permits reports of
that job only, nothing needs to be stored, and it stays valid when the server restarts. It is in the path because every
adapter uses the URL as it is; outside of Kubernetes adapters of the SDK send no token from a file.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import structlog

from evalhub_server.errors import SettingsError
from evalhub_server.settings.auth_token import KEY, read_token

log = structlog.get_logger()

CHECK_INTERVAL_S = 1.0
CALLBACK = b"/callback/"
JOBS, EVENTS = "/api/v1/evaluations/jobs/", "/events"
_CALLBACK = re.compile(
    rb"/callback/([A-Za-z0-9_-]{43})(/api/v1/evaluations/jobs/[^/]+/(?:events|benchmarks/[0-9]+/(?:samples|artifacts)))"
)
_REPORTS = {
    "POST": re.compile(re.escape(JOBS) + r"([^/]+)" + EVENTS),
    "PUT": re.compile(re.escape(JOBS) + r"([^/]+)/benchmarks/[0-9]+/(?:samples|artifacts)"),
}
"""What an adapter may send with the token of its job, by method: events, and uploads of samples and artifacts."""

_CALLBACK_PREFIX = re.compile(rb"\A/callback/[^/]*")
_PURPOSE = b"evalhub callback of job "


class Credentials:
    """Checks tokens against the one in ``file``.

    The file is checked for changes at most once a second. While it is unusable, the last token stays valid. After a
    change running adapters can still report with the previous token, until the server exits.

    Raises :class:`SettingsError` if the file holds no usable token.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic, *, key: str = KEY) -> None:
        """``key`` is the setting that names the file, for messages."""
        self._file = file
        self._key = key
        self._clock = clock
        self._stamp = _stamp(file)
        self._tokens = deque([read_token(file, key)], maxlen=2)
        self._next_check = clock() + CHECK_INTERVAL_S

    def is_valid(self, authorization: bytes) -> bool:
        """Whether this value of ``Authorization`` contains the server's token."""
        self._reload_if_due()
        scheme, _, given = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(b" \t"), self._tokens[-1])

    def key_for(self, purpose: bytes) -> bytes:
        """A key of 32 bytes that is derived from the server's current token: it changes with the token."""
        self._reload_if_due()
        return hmac.digest(self._tokens[-1], purpose, "sha256")

    def is_report_token(self, callback_token: bytes, method: str, path: str) -> bool:
        """Whether this is the callback token of the job that a request reports to: its events, samples or artifacts."""
        self._reload_if_due()
        report = _REPORTS[method].fullmatch(path) if method in _REPORTS else None
        if report is None:
            return False
        return any(hmac.compare_digest(callback_token, _derive(token, report[1])) for token in self._tokens)

    def callback_path(self, job_id: str) -> str:
        """The path of the callback URL for the adapters of a job."""
        return f"{CALLBACK.decode()}{_derive(self._tokens[-1], job_id).decode()}"

    def _reload_if_due(self) -> None:
        now = self._clock()
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL_S
            self._reload()

    def _reload(self) -> None:
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            token = read_token(self._file, self._key)
        except SettingsError as error:
            log.error("The token file is unusable; the last token stays valid", error=error.message)
            return
        if token != self._tokens[-1]:
            self._tokens.append(token)
            log.info("Token changed", file=str(self._file))


def split_callback(raw_path: bytes) -> tuple[bytes, bytes]:
    """Split the path of a report into its callback token and the path without it.

    For any other path the token is empty and a possible token is redacted, so that the path can be refused and logged.
    """
    match = _CALLBACK.fullmatch(raw_path)
    return (match[1], match[2]) if match else (b"", _CALLBACK_PREFIX.sub(CALLBACK + b"[redacted]", raw_path))


def _derive(token: bytes, job_id: str) -> bytes:
    digest = hmac.digest(token, _PURPOSE + job_id.encode("utf-8", "surrogatepass"), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=")


def _stamp(file: Path) -> tuple[int, ...]:
    """A value that changes with the file; empty if the file does not exist."""
    try:
        found = os.stat(file)  # noqa: PTH116  follows the links by which Kubernetes swaps secrets
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size
