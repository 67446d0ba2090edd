"""AWS Signature Version 4 for GET requests.

After https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote, urlsplit

from msgspec import Struct

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class Credentials(Struct, kw_only=True, frozen=True):
    """``session_token`` is for temporary ones."""

    access_key: str
    secret_key: str
    region: str
    session_token: str = ""


def encoded(text: str, *, slash: bool = False) -> str:
    """As the signature wants names and values: all but unreserved characters, and slashes only in paths."""
    return quote(text, safe="/" if slash else "")


def query_of(parameters: Mapping[str, str]) -> str:
    """A query string in the order that is signed."""
    return "&".join(f"{encoded(name)}={encoded(value)}" for name, value in sorted(parameters.items()))


def signed_headers(url: str, credentials: Credentials, now: datetime, service: str = "s3") -> dict[str, str]:
    """The headers of a GET of ``url``, whose path and query are encoded as :func:`encoded` does it.

    ``now`` is in UTC.
    """
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": parts.netloc, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": stamp}
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        (
            "GET",
            parts.path or "/",
            parts.query,
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            EMPTY_SHA256,
        )
    )
    scope = f"{stamp[:8]}/{credentials.region}/{service}/aws4_request"
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers
