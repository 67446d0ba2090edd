"""Pages that are built once for equal requests."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from evalhub_server.viewer.shared_pages import KEPT_S, MAX_RESPONSE_BYTES, SharedPages, release
from evalhub_server.web.responses import RawResponse
from harness.running import Answer, call
from harness.viewer_data import ViewerServer
from harness.waiting import wait_until

TABS = 20
MAX_READS = 10  # those of one page and of what the server does beside; 20 pages need 40
PAGE = RawResponse(200, (), b"page")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def scope() -> Any:
    return {"type": "http"}


async def request(pages: SharedPages, key: str, built: list[str], page: RawResponse | None) -> RawResponse:
    """A request for a page, which fails if ``page`` is None."""
    own = scope()
    try:
        if (known := await pages.find(key, own)) is not None:
            return known
        built.append(key)
        await asyncio.sleep(0)
        if page is None:
            raise ValueError(key)
        pages.put(key, page, own)
        return page
    finally:
        release(own)


async def test_equal_requests_share_one_page():
    pages, built = SharedPages(), list[str]()
    answers = await asyncio.gather(*(request(pages, key, built, PAGE) for key in "aab" * TABS))
    assert (set(answers), sorted(built)) == ({PAGE}, ["a", "b"])


async def test_a_request_that_fails_lets_the_next_one_build_the_page():
    pages, built = SharedPages(), list[str]()
    failing = [request(pages, "a", built, None) for _ in range(2)]
    answers = await asyncio.gather(
        *failing, *(request(pages, "a", built, PAGE) for _ in range(TABS)), return_exceptions=True
    )
    assert [type(each) for each in answers[:2]] == [ValueError, ValueError]
    assert (set(answers[2:]), built) == ({PAGE}, ["a"] * 3)


async def test_a_page_with_relative_times_is_shared_for_a_short_time():
    clock = Clock()
    pages, built = SharedPages(clock), list[str]()
    await request(pages, "a", built, PAGE)
    clock.now += KEPT_S / 2
    await request(pages, "a", built, PAGE)
    assert built == ["a"]
    clock.now += KEPT_S
    await request(pages, "a", built, PAGE)
    assert built == ["a", "a"]


async def test_a_large_response_is_not_kept():
    pages, built = SharedPages(), list[str]()
    large = RawResponse(200, (), bytes(MAX_RESPONSE_BYTES + 1))
    for _ in range(2):
        assert await request(pages, "a", built, large) is large
    assert built == ["a", "a"]


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(TABS) as threads:
        yield threads


def test_many_tabs_cost_the_reads_of_one(viewer: ViewerServer, pool: ThreadPoolExecutor):
    numbers, reads = itertools.count(), 0

    def tabs_with_one_state() -> bool:
        """Whether nothing has changed between the requests, as an adapter does that exits."""
        nonlocal reads
        url = f"/ui/jobs?part=live&q=tab-{next(numbers)}"
        before = viewer.reads()
        requests = [pool.submit(call, viewer.port, "GET", url) for _ in range(TABS)]
        tags = {each.result().headers["etag"] for each in requests}
        reads = viewer.reads() - before
        return len(tags) == 1

    wait_until(tabs_with_one_state, "20 tabs with one state")
    assert 0 < reads <= MAX_READS


def test_readers_do_not_share_what_differs(viewer: ViewerServer):
    url = "/ui/jobs?size=50"

    def get(**headers: str) -> Answer:
        return call(viewer.port, "GET", url, None, headers)

    plain, compressed = get(), get(**{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.headers["etag"].endswith('-gzip"')
    assert gzip.decompress(compressed.body)[:15] == plain.body[:15]
    assert b'data-theme="dark"' in get(Cookie="evalhub_theme=dark").body
    assert b'data-theme="auto"' in get().body
    assert call(viewer.port, "GET", url.replace("?", ".json?")).body["items"]
