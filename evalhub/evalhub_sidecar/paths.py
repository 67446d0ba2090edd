"""Request targets: taken apart without changing them, and refused where two readers could see two paths."""

from __future__ import annotations

from urllib.parse import unquote

from msgspec import Struct

from evalhub_sidecar.errors import Refused


class Target(Struct, frozen=True):
    """``path`` is as the client wrote it, still encoded; ``query`` has its question mark, or is empty."""

    path: str
    query: str

    def __str__(self) -> str:
        return self.path + self.query

    def below(self, prefix: str) -> bool:
        """Is this ``prefix`` itself, or under it?"""
        return self.path == prefix or self.path.startswith(f"{prefix}/")


def target_of(raw: str) -> Target:
    """Raises :class:`Refused`, 400, for what is no plain path: the next server might resolve it to another one."""
    path, mark, query = raw.partition("?")
    if not path.startswith("/"):
        raise Refused(400, "invalid_path", "The request target must be a path.")
    if any(part in (".", "..") for part in unquote(path).replace("\\", "/").split("/")):
        raise Refused(400, "invalid_path", "The path must not have '.' or '..' in it.")
    return Target(path, mark + query)
