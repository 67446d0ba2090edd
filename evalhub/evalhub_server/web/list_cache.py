"""Responses with pages of lists, which are sent again until something changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from evalhub_server.engine.size_cache import SizeCache
from evalhub_server.web.compression import accepts_gzip, negotiated
from evalhub_server.web.conditional import ListState
from evalhub_server.web.paths import link_to
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.responses import RawResponse

MAX_BYTES = 2 * 2**20
MAX_RESPONSE_BYTES = 2**20
"""Larger responses are not kept."""

_Key = tuple[str, str, bool]


class _Build(Struct):
    """A response that is being built. ``response`` is None until ``done``, and afterwards if it failed."""

    done: asyncio.Event
    response: RawResponse | None = None


class ListCache:
    """The latest responses by URI and by the tag of the list, which has the reader and changes with every item.

    A list is as current as a 304 to its tag: a client that has it would get that.
    """

    def __init__(self) -> None:
        self._responses: SizeCache[_Key, RawResponse] = SizeCache(MAX_BYTES)
        self._builds: dict[_Key, _Build] = {}

    def find(self, request: ApiRequest, state: ListState) -> RawResponse | None:
        """The response to an equal request, or 304 if the client has it. None: the list must be read."""
        kept = self._responses.get(_key(request, state))
        return None if kept is None else state.not_modified or kept

    async def build(
        self, request: ApiRequest, state: ListState, read: Callable[[], Awaitable[bytes]]
    ) -> RawResponse:
        """The response with the body that ``read`` returns, compressed if the client accepts that; equal requests will find it.

        Equal requests meanwhile wait for it, because each page takes several times its size while it is built. If one fails,
        another is built.
        """
        key = _key(request, state)
        while (other := self._builds.get(key)) is not None:
            await other.done.wait()
            known = other.response or self._responses.get(key)
            if known is not None:
                return known
        build = self._builds[key] = _Build(done=asyncio.Event())
        try:
            build.response = await self._keep(key, request, state.response(await read()))
        finally:
            del self._builds[key]
            build.done.set()
        return build.response

    async def _keep(self, key: _Key, request: ApiRequest, response: RawResponse) -> RawResponse:
        content = await negotiated(request.scope["headers"], response.headers, response.body)
        response = RawResponse(200, *content, negotiated=True)
        if len(response.body) <= MAX_RESPONSE_BYTES:
            self._responses.put(key, response, len(response.body))
        return response


def _key(request: ApiRequest, state: ListState) -> _Key:
    return link_to(request.scope), state.tag, _accepts_gzip(request)


def _accepts_gzip(request: ApiRequest) -> bool:
    return request.has_field(b"accept-encoding") and accepts_gzip(request.scope["headers"])
