"""The cache of pages of lists."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from evalhub_server.engine.identity import Identity
from evalhub_server.web.body_memory import BodyMemory
from evalhub_server.web.conditional import ListState
from evalhub_server.web.list_cache import MAX_RESPONSE_BYTES, ListCache
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.request_context import CONTEXT_KEY, RequestContext
from evalhub_server.web.responses import BODY as BODY_EXTENSION
from evalhub_server.web.responses import RawResponse

BODY = b"[" + b"1," * 4000 + b"1]"


def a_request(uri: str = "/jobs?limit=10", *, tenant: str = "t", **fields: str) -> ApiRequest:
    path, _, query = uri.partition("?")
    headers = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    context = RequestContext(
        trace_id="", identity=Identity(tenant=tenant), body_memory=BodyMemory(-1), fields=headers
    )
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": list(headers.items()),
        CONTEXT_KEY: context,
    }
    return ApiRequest(scope)


def state(request: ApiRequest, changes: int = 1) -> ListState:
    return ListState(request, "epoch", changes)


async def build(cache: ListCache, request: ApiRequest, body: bytes = BODY) -> RawResponse:
    async def read() -> bytes:
        return body

    return await cache.build(request, state(request), read)


async def test_an_equal_request_gets_the_same_response_until_something_changes():
    cache, request = ListCache(), a_request()
    assert cache.find(request, state(request)) is None
    response = await build(cache, request)
    assert response.body == BODY + b"\n"
    assert cache.find(a_request(), state(request)) is response
    assert cache.find(a_request(), state(request, changes=2)) is None


async def test_another_page_and_another_tenant_get_responses_of_their_own():
    cache, request = ListCache(), a_request()
    await build(cache, request)
    for other in (a_request("/jobs?limit=11"), a_request("/providers?limit=10"), a_request(tenant="u")):
        assert cache.find(other, state(other)) is None


async def test_a_client_that_has_the_page_gets_304():
    cache, request = ListCache(), a_request()
    await build(cache, request)
    known = a_request(if_none_match=f'"{state(request).tag}"')
    found = cache.find(known, state(known))
    assert found is not None
    assert (found.status, found.body) == (304, b"")


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_kept_page_is_sent_as_it_is(encoding: str):
    cache, request = ListCache(), a_request(accept_encoding=encoding)
    response = await build(cache, request)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {**request.scope, "extensions": {BODY_EXTENSION: {}}}
    await response(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["headers"] is response.headers
    assert sent[0][BODY_EXTENSION] is response.body
    assert [value for name, value in response.headers if name == b"vary"] == [b"Accept-Encoding"]


async def test_a_page_is_compressed_once_for_clients_that_accept_it():
    cache, plain, zipped = ListCache(), a_request(), a_request(accept_encoding="gzip")
    await build(cache, plain)
    assert cache.find(zipped, state(zipped)) is None
    response = await build(cache, zipped)
    assert gzip.decompress(response.body) == BODY + b"\n"
    assert cache.find(zipped, state(zipped)) is response
    assert cache.find(plain, state(plain)) is not response


async def test_a_very_large_page_is_not_kept():
    cache, request = ListCache(), a_request()
    await build(cache, request, b"1" * MAX_RESPONSE_BYTES)
    assert cache.find(request, state(request)) is None


class Reads:
    """Reads of a list, each of which takes until ``go_on``; the first ones raise ``errors``."""

    def __init__(self, *errors: Exception) -> None:
        self.count = 0
        self.go_on = asyncio.Event()
        self._errors = list(errors)

    async def __call__(self) -> bytes:
        self.count += 1
        await self.go_on.wait()
        if self._errors:
            raise self._errors.pop(0)
        return BODY


async def test_equal_requests_at_the_same_time_are_one_read():
    cache, reads = ListCache(), Reads()
    requests = [a_request() for _ in range(16)]
    waiting = [asyncio.ensure_future(cache.build(each, state(each), reads)) for each in requests]
    other = a_request("/jobs?limit=11")
    waiting.append(asyncio.ensure_future(cache.build(other, state(other), reads)))
    await asyncio.sleep(0)
    reads.go_on.set()
    *equal, different = await asyncio.gather(*waiting)
    assert reads.count == 2
    assert all(each is equal[0] for each in equal)
    assert different is not equal[0]


async def test_a_read_that_fails_or_is_cancelled_leaves_the_others_to_another_one():
    cache, reads = ListCache(), Reads(OSError())
    requests = [a_request() for _ in range(4)]
    cancelled, *waiting = [asyncio.ensure_future(cache.build(each, state(each), reads)) for each in requests]
    await asyncio.sleep(0)
    cancelled.cancel()
    reads.go_on.set()
    failed, *rest = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(failed, OSError)
    assert reads.count == 3
    assert isinstance(rest[0], RawResponse)
    assert rest == [rest[0]] * 2
