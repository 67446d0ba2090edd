"""Tokens that Kubernetes renews in a file while the sidecar runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from evalhub_sidecar import logs


class TokenFile:
    """A token, read again when it is older than ``cache_s`` seconds. No path or no file: no token."""

    def __init__(self, path: str, cache_s: float) -> None:
        self._path = path
        self._cache_s = cache_s
        self._token = ""
        self._good_until = float("-inf")

    async def token(self) -> str:
        """Empty if there is none."""
        now = asyncio.get_running_loop().time()
        if self._path and now >= self._good_until:
            self._token = await asyncio.to_thread(self._read)
            self._good_until = now + self._cache_s
        return self._token

    async def authorization(self) -> str | None:
        """A header with the token, which may have its scheme already; None if there is no token."""
        token = await self.token()
        if not token or token.startswith(("Bearer ", "Basic ")):
            return token or None
        return f"Bearer {token}"

    def forget(self) -> None:
        """Read the file next time, because the token was refused."""
        self._good_until = float("-inf")

    def _read(self) -> str:
        try:
            return Path(self._path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            logs.warning("a token cannot be read", path=self._path, error=str(error))
            return ""
