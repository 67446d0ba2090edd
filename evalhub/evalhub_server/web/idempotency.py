"""The request header ``Idempotency-Key``."""

from __future__ import annotations

import re

from evalhub_server.domain import problems, request_problems
from evalhub_server.engine.job_creation import IdempotencyKey
from evalhub_server.web.openapi.errors import ID
from evalhub_server.web.request import ApiRequest

_KEY = re.compile(r"[!-~]{1,255}")

IDEMPOTENT = (problems.idempotency_key_reused(ID),)
"""Errors of operations with the header."""


def idempotency_key(request: ApiRequest, *content: object) -> IdempotencyKey | None:
    """The client's key for ``content``, which identifies the operation and its request; None without the header.

    Raises :class:`ApiError` 400 ``invalid_header`` for an empty or malformed one: a request that the client believes to be
    protected must not be accepted without.
    """
    if not request.has_field(b"idempotency-key"):
        return None
    key = request.field(b"idempotency-key").strip(" \t")
    if not _KEY.fullmatch(key):
        raise request_problems.invalid_header(
            "Idempotency-Key", "must have 1 to 255 printable ASCII characters without blanks"
        )
    return IdempotencyKey.of(key, *content)
