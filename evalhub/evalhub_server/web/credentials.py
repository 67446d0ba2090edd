"""The server's bearer token, and the callback addresses with which adapters are let in without it.

Adapters never get the server's token. The callback URL of a job has a token of its own in its path,
``http://localhost:8080/callback/TOKEN``, made from the server's token and the job's id by HMAC: it opens nothing but the
reports of that job, nothing needs to be stored, and adapters that outlive the server are known to the next one. It is in
the path because that is what every adapter passes on: those of the SDK send no token of a file outside of Kubernetes.
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
from evalhub_server.settings.auth_token import read_token

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
CALLBACK = b"/callback/"
JOBS, EVENTS = "/api/v1/evaluations/jobs/", "/events"
_CALLBACK = re.compile(rb"/callback/([A-Za-z0-9_-]{43})(/api/v1/evaluations/jobs/[^/]+/events)")
_ANY_CALLBACK = re.compile(rb"\A/callback/[^/]*")
_PURPOSE = b"evalhub callback of job "


class Credentials:
    """Checks tokens against the one in ``file``.

    The file is looked at again at most once a second. While it cannot be used, the last token stays valid. After a
    change adapters that are running can still report, until the server ends.

    Raises :class:`SettingsError` if the file holds no usable token.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._stamp = _stamp(file)
        self._tokens = deque([read_token(file)], maxlen=2)
        self._next_look = clock() + LOOK_EVERY_S

    def admit(self, authorization: bytes) -> bool:
        """Is this value of ``Authorization`` the server's token?"""
        self._look_again()
        scheme, _, given = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(b" \t"), self._tokens[-1])

    def admit_report(self, callback_token: bytes, path: str) -> bool:
        """Is this the token of the job whose reports go to ``path``?"""
        self._look_again()
        job_id = path.removeprefix(JOBS).removesuffix(EVENTS)
        return any(hmac.compare_digest(callback_token, _derived(token, job_id)) for token in self._tokens)

    def callback_path(self, job_id: str) -> str:
        """What the callback URL of this job's adapters ends with."""
        return f"{CALLBACK.decode()}{_derived(self._tokens[-1], job_id).decode()}"

    def _look_again(self) -> None:
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY_S
            self._look()

    def _look(self) -> None:
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            token = read_token(self._file)
        except SettingsError as error:
            log.error("The token file cannot be used; the last token stays valid", error=error.message)
            return
        if token != self._tokens[-1]:
            self._tokens.append(token)
            log.info("Read a new token", file=str(self._file))


def split_callback(raw_path: bytes) -> tuple[bytes, bytes]:
    """The token in the path of a report, and the path without it.

    Any other path is nobody's; it comes back without what may be a token, to be refused and logged.
    """
    match = _CALLBACK.fullmatch(raw_path)
    return (match[1], match[2]) if match else (b"", _ANY_CALLBACK.sub(CALLBACK + b"[redacted]", raw_path))


def _derived(token: bytes, job_id: str) -> bytes:
    digest = hmac.digest(token, _PURPOSE + job_id.encode("utf-8", "surrogatepass"), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=")


def _stamp(file: Path) -> tuple[int, ...]:
    """Changes when the file does; empty while there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116  follows the links by which Kubernetes swaps secrets
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size
