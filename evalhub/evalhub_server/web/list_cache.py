"""Responses with pages of lists, which are sent again until something changes."""

from __future__ import annotations

from evalhub_server.engine.size_cache import SizeCache
from evalhub_server.web.compression import accepts_gzip, negotiated
from evalhub_server.web.conditional import ListState
from evalhub_server.web.paths import link_to
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.responses import RawResponse

MAX_BYTES = 4 * 2**20
MAX_RESPONSE_BYTES = 2**20
"""Larger responses are not kept."""

_Key = tuple[str, str, bool]


class ListCache:
    """The latest responses by URI and by the tag of the list, which has the reader and changes with every item.

    A list is as current as a 304 to its tag: a client that has it would get that.
    """

    def __init__(self) -> None:
        self._responses: SizeCache[_Key, RawResponse] = SizeCache(MAX_BYTES)

    def find(self, request: ApiRequest, state: ListState) -> RawResponse | None:
        """The response to an equal request, or 304 if the client has it. None: the list must be read."""
        kept = self._responses.get(_key(request, state))
        return None if kept is None else state.not_modified or kept

    async def keep(self, request: ApiRequest, state: ListState, body: bytes) -> RawResponse:
        """The response with ``body``, compressed if the client accepts that; equal requests will find it."""
        response = state.response(body)
        if _accepts_gzip(request):
            scope = request.scope
            response = RawResponse(200, *await negotiated(scope["headers"], response.headers, response.body))
        if len(response.body) <= MAX_RESPONSE_BYTES:
            self._responses.put(_key(request, state), response, len(response.body))
        return response


def _key(request: ApiRequest, state: ListState) -> _Key:
    return link_to(request.scope), state.tag, _accepts_gzip(request)


def _accepts_gzip(request: ApiRequest) -> bool:
    return request.has_field(b"accept-encoding") and accepts_gzip(request.scope["headers"])
