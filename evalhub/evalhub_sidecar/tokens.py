"""Tokens in files, which Kubernetes renews."""

from __future__ import annotations

import asyncio
from pathlib import Path

from evalhub_sidecar import logs


class TokenFile:
    """A token, read again after ``cache_s`` seconds. Without a path or a file there is no token."""

    def __init__(self, path: str, cache_s: float) -> None:
        self._path = path
        self._cache_s = cache_s
        self._token = ""
        self._valid_until = float("-inf")

    async def token(self) -> str:
        """The token; empty without one."""
        now = asyncio.get_running_loop().time()
        if self._path and now >= self._valid_until:
            self._token = await asyncio.to_thread(self._read)
            self._valid_until = now + self._cache_s
        return self._token

    async def authorization(self) -> str | None:
        """The ``Authorization`` header; None without a token. The token may include its scheme."""
        token = await self.token()
        if not token or token.startswith(("Bearer ", "Basic ")):
            return token or None
        return f"Bearer {token}"

    def forget(self) -> None:
        """Read the file for the next request, because the token was refused."""
        self._valid_until = float("-inf")

    def _read(self) -> str:
        try:
            return Path(self._path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            logs.warning("Token cannot be read", path=self._path, error=str(error))
            return ""
