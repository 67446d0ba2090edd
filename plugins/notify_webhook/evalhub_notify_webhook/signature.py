"""Signatures of the Standard Webhooks specification (standardwebhooks.com), version 1.0.0."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from evalhub_server.plugins import SettingsError

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64


def parse_secrets(text: str, source: str) -> list[bytes]:
    """The secrets in a text, one per line. Raises :class:`SettingsError` with a text that starts with ``source``."""
    secrets = [_parse(line.strip(), source) for line in text.splitlines() if line.strip()]
    if not secrets:
        raise SettingsError(f"{source}: contains no secret")
    return secrets


def _parse(text: str, source: str) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not text.startswith(PREFIX) or not MIN_BYTES <= len(secret) <= MAX_BYTES:
        raise SettingsError(
            f"{source}: expected {PREFIX} and {MIN_BYTES} to {MAX_BYTES} bytes in base64, such as the output of: "
            f'echo "{PREFIX}$(openssl rand -base64 32)"'
        )
    return secret


def sign(secrets: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The headers of a message sent at ``timestamp_s`` (seconds since 1970)."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    signatures = [hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(s).decode()}" for s in signatures),
    }
