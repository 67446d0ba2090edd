"""Links of pages to themselves with other parameters."""

from __future__ import annotations

from typing import Any

import pytest

from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.web.request import ApiRequest

VALUES = ["alpha", "ä b&c=d", "", "a+b"]


def query(text: str) -> PageQuery:
    scope: Any = {"type": "http", "path": "/ui/jobs", "query_string": text.encode(), "headers": []}
    return PageQuery(ApiRequest(scope), ("model", "state", "tag", "offset", "after", "metadata.x=y"))


@pytest.mark.parametrize(
    "text", ["", "tag=b&tag=a&state=failed&offset=100", "model=old&after=7&theme=dark", "state=&tag=%26"]
)
@pytest.mark.parametrize("name", ["model", "state", "tag", "metadata.x=y"])
def test_links_that_select_a_value(text: str, name: str):
    page = query(text)
    assert page.urls_with(name, VALUES) == [
        page.url(**{name: value, "offset": None, "after": None}) for value in VALUES
    ]


def test_equal_views_have_equal_links():
    assert query("tag=b&state=failed&tag=a").url(offset=5) == query("tag=a&tag=b&state=failed").url(offset=5)
    page = query("offset=5")
    assert page.url(offset=None) == page.url(offset=None) == "/ui/jobs"
    assert page.url(offset=6) == "/ui/jobs?offset=6"
