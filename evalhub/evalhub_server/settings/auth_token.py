"""The token files of ``service.auth_token_file`` and ``prometheus.auth_token_file``."""

from __future__ import annotations

from pathlib import Path

from evalhub_server.errors import SettingsError

KEY = "service.auth_token_file"
SCRAPE_KEY = "prometheus.auth_token_file"
MIN_LENGTH = 16


def token_path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def read_token(file: Path, key: str = KEY) -> bytes:
    """The token in the file of a setting, without surrounding white space.

    Raises :class:`SettingsError`, which never contains the token, unless it consists of printable ASCII characters without
    spaces and has at least :data:`MIN_LENGTH` of them.
    """
    try:
        token = file.read_bytes().strip()
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}", key) from None
    if not token:
        raise _unusable(file, "is empty", key)
    if not token.isascii() or not token.decode("ascii").isprintable() or b" " in token:
        raise _unusable(file, "must contain one token of printable ASCII characters without spaces", key)
    if len(token) < MIN_LENGTH:
        # Tokens of jobs are derived from it, so a job could find a short one by an offline search.
        raise _unusable(file, f"contains a token of less than {MIN_LENGTH} characters", key)
    return token


def _unusable(file: Path, reason: str, key: str) -> SettingsError:
    return SettingsError(f"{key}: {file} {reason}. Create one with: openssl rand -hex 32 > {file}")
