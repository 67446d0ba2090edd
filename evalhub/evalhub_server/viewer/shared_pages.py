"""Responses with pages that several tabs request: built once for equal requests, and shared for a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable

from litestar.types import Scope

from evalhub_server.engine.size_cache import SizeCache
from evalhub_server.web.responses import RawResponse

KEPT_S = 5.0
"""How long a response is shared. It has times relative to the moment when it was built."""
MAX_BYTES = 2 * 2**20
MAX_RESPONSE_BYTES = 256 * 2**10
"""Larger responses, such as the CSV of a large table, are not kept."""
_CLAIM_KEY = "evalhub.page_claim"


class SharedPages:
    """The latest responses, by keys that identify the reader, the view and the state of its data.

    A request that :meth:`find` returns nothing to has claimed its key: equal requests wait until :meth:`put` or
    :meth:`release`, and the first of them claims the key if there still is no response.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._responses: SizeCache[Hashable, tuple[float, RawResponse]] = SizeCache(MAX_BYTES)
        self._claims: dict[Hashable, asyncio.Event] = {}

    async def find(self, key: Hashable, scope: Scope) -> RawResponse | None:
        """The response for a key, after any equal request has built it. None: this request has claimed the key."""
        while (found := self._kept(key)) is None and key in self._claims:
            await self._claims[key].wait()
        if found is None:
            self._claims[key] = asyncio.Event()
            scope[_CLAIM_KEY] = self, key  # type: ignore[typeddict-unknown-key]  # ours, beside ASGI's own keys
        return found

    def put(self, key: Hashable, response: RawResponse, scope: Scope) -> None:
        """Share the response of a request that has claimed the key."""
        if len(response.body) <= MAX_RESPONSE_BYTES:
            self._responses.put(key, (self._clock(), response), len(response.body))
        release(scope)

    def _kept(self, key: Hashable) -> RawResponse | None:
        built_at, response = self._responses.get(key) or (0.0, None)
        return response if self._clock() - built_at < KEPT_S else None

    def unclaim(self, key: Hashable) -> None:
        """Let an equal request claim the key."""
        self._claims.pop(key).set()


def release(scope: Scope) -> None:
    """Release the claim of a request, if it has one: it has failed, or its response is known."""
    claim: tuple[SharedPages, Hashable] | None = scope.pop(_CLAIM_KEY, None)  # type: ignore[typeddict-item]
    if claim is not None:
        pages, key = claim
        pages.unclaim(key)
