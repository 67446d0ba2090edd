"""Redaction of callback tokens: the tokens in callback URLs, ``…/callback/TOKEN/api/v1/evaluations/jobs/…``.

A token permits reports of one job. Adapters, proxies and clients quote the URL in their messages, also cut, encoded or
joined to other paths, so that the token is recognized by its position or, elsewhere in a path, by its form.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

REDACTED = "[redacted]"
_SEPARATOR = r"(?:/|\\|%(?:25)*(?:2f|5c))"
_AFTER_CALLBACK = re.compile(rf"(callback{_SEPARATOR}+)(?:(?!{_SEPARATOR})[\w%.~-]){{20,}}", re.IGNORECASE)
_JOBS = "api/v1/evaluations/jobs/"
_BEFORE_JOBS = re.compile(rf"(?<![\w-])[\w-]{{16,43}}(?=/+{_JOBS})")
"""Also the end of a token: quotations of logs are cut at the start."""
_SEGMENT = re.compile(r"(?<=[/\\])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
MIN_OF_EACH_CASE = 5
"""Letters of each case in a segment that is a token by its form: 256 random bits in base64url have about 17."""


def redact_callback_tokens(text: str) -> str:
    """Return the text with the callback tokens in its URLs and paths replaced by ``[redacted]``."""
    if "/" not in text and "%" not in text and "\\" not in text:
        return text
    if "callback" in text or "callback" in text.casefold():
        text = _AFTER_CALLBACK.sub(rf"\1{REDACTED}", text)
    if _JOBS in text:
        text = _BEFORE_JOBS.sub(_without_token, text)
    return _SEGMENT.sub(_without_token, text)


def redact_callback_path(path: str) -> str:
    """Return a request's path and query without callback tokens, decoded where an encoding conceals one."""
    redacted = redact_callback_tokens(path)
    if "%" not in path:
        return redacted
    decoded = path
    for _ in range(3):
        decoded = unquote(decoded)
    without = redact_callback_tokens(decoded)
    return redacted if without == decoded else without


def _without_token(match: re.Match[str]) -> str:
    segment = match[0]
    upper, lower = sum(map(str.isupper, segment)), sum(map(str.islower, segment))
    return REDACTED if min(upper, lower) >= MIN_OF_EACH_CASE else segment
