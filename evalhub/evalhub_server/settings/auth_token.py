"""The file with the token that every request must carry."""

from __future__ import annotations

from pathlib import Path

from evalhub_server.errors import SettingsError

KEY = "service.auth_token_file"
SHORTEST = 16


def token_path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def read_token(file: Path) -> bytes:
    """What is in the file, without the white space around it.

    Raises :class:`SettingsError`, which never shows it, unless that is one token of printable ASCII characters, long
    enough not to be guessed.
    """
    try:
        token = file.read_bytes().strip()
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}") from None
    if not token:
        raise _unusable(file, "is empty")
    if not token.isascii() or not token.decode("ascii").isprintable() or b" " in token:
        raise _unusable(file, "must hold one token of printable ASCII characters without spaces")
    if len(token) < SHORTEST:
        # The tokens of jobs are made from it: who has one of those could guess a short one offline.
        raise _unusable(file, f"holds a token of less than {SHORTEST} characters")
    return token


def _unusable(file: Path, why: str) -> SettingsError:
    return SettingsError(f"{KEY}: {file} {why}. Make one with: openssl rand -hex 32 > {file}")
