"""Request targets, split without decoding; ambiguous paths are refused."""

from __future__ import annotations

from urllib.parse import unquote

from msgspec import Struct

from evalhub_sidecar.errors import Refused


class Target(Struct, frozen=True):
    """``path`` is as the client wrote it, encoded; ``query`` includes the question mark, or is empty."""

    path: str
    query: str

    def __str__(self) -> str:
        return self.path + self.query

    def below(self, prefix: str) -> bool:
        """Whether the path is ``prefix`` or below it."""
        return self.path == prefix or self.path.startswith(f"{prefix}/")


def target_of(raw: str) -> Target:
    """Raises :class:`Refused`, 400, for a path that the upstream might resolve to another one."""
    path, separator, query = raw.partition("?")
    if not path.startswith("/"):
        raise Refused(400, "invalid_path", "The request target must be a path.")
    if any(part in (".", "..") for part in unquote(path).replace("\\", "/").split("/")):
        raise Refused(400, "invalid_path", "The path must not have '.' or '..' in it.")
    return Target(path, separator + query)
