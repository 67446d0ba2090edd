"""The token file of ``service.auth_token_file``."""

from __future__ import annotations

from pathlib import Path

from evalhub_server.errors import SettingsError

KEY = "service.auth_token_file"
MIN_LENGTH = 16


def token_path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def read_token(file: Path) -> bytes:
    """The token in a file, without surrounding white space.

    Raises :class:`SettingsError`, which never contains the token, unless it consists of printable ASCII characters without
    spaces and has at least :data:`MIN_LENGTH` of them.
    """
    try:
        token = file.read_bytes().strip()
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}") from None
    if not token:
        raise _unusable(file, "is empty")
    if not token.isascii() or not token.decode("ascii").isprintable() or b" " in token:
        raise _unusable(file, "must contain one token of printable ASCII characters without spaces")
    if len(token) < MIN_LENGTH:
        # Tokens of jobs are derived from it, so a job could find a short one by an offline search.
        raise _unusable(file, f"contains a token of less than {MIN_LENGTH} characters")
    return token


def _unusable(file: Path, reason: str) -> SettingsError:
    return SettingsError(f"{KEY}: {file} {reason}. Create one with: openssl rand -hex 32 > {file}")
