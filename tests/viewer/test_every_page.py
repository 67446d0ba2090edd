"""What holds for every page, over HTTP: the pages come from the application's routes."""

from __future__ import annotations

import csv
import gzip
import io
import re

import pytest

from evalhub_server.viewer.pages import PAGES
from evalhub_server.web.compression import MIN_BYTES
from harness.html_checks import PageChecks
from harness.running import Answer, call
from harness.viewer_data import ViewerServer
from harness.viewer_data.hostile import FORMULAS
from harness.viewer_data.views import ADDRESSES, FORMS, is_planned, page_routes, path_of, url_of, views
from harness.waiting import wait_until

HTML_LIMIT_BYTES, CSS_LIMIT_BYTES, SCRIPT_LIMIT_BYTES, ICON_LIMIT_BYTES = 15_000, 12_000, 10_000, 1_000
csv.field_size_limit(2**31 - 1)  # cells of CSV are whole
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?")


def get(viewer: ViewerServer, url: str, **headers: str) -> Answer:
    return call(
        viewer.port, "GET", url, None, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def page(viewer: ViewerServer, name: str) -> PageChecks:
    return PageChecks(get(viewer, url_of(viewer, name)).body.decode())


def with_parameter(url: str, text: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{text}"


def test_no_page_is_forgotten():
    forgotten = [
        route.path
        for route in page_routes()
        if not any(route.matches.match(path_of(address)) for address in ADDRESSES.values())
    ]
    assert forgotten == []
    assert len(PAGES) == len(set(PAGES))


def test_structure_and_content(viewer: ViewerServer, subtests: pytest.Subtests):
    for name in views():
        with subtests.test(name):
            answer = get(viewer, url_of(viewer, name))
            assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
            checks = PageChecks(answer.body.decode())
            assert checks.problems == []
            assert len(checks.headings) == 1
            assert checks.title.endswith(" · EvalHub")
            assert {tag: checks.elements.get(tag) for tag in ("html", "main", "footer")} == {
                "html": 1,
                "main": 1,
                "footer": 1,
            }


def test_headers(viewer: ViewerServer, subtests: pytest.Subtests):
    for name in views():
        with subtests.test(name):
            headers = get(viewer, url_of(viewer, name)).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            assert "require-trusted-types-for 'script'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cache-control"].startswith("private, no-cache")


@pytest.mark.slow
def test_links_lead_to_pages(viewer: ViewerServer, subtests: pytest.Subtests):
    seen: set[str] = set()
    for name in views():
        with subtests.test(name):
            url = url_of(viewer, name)
            for link in page(viewer, name).links:
                target = link.partition("#")[0]
                pattern = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+|=[^&]*", "", target)
                if not target.startswith("/") or pattern in seen or is_planned(target):
                    continue
                seen.add(pattern)
                assert get(viewer, target).status in (200, 303), (url, link)


def unchanged(viewer: ViewerServer, url: str) -> tuple[str, Answer] | None:
    tag = get(viewer, url).headers["etag"]
    again = get(viewer, url, If_None_Match=tag)
    return (tag, again) if again.status == 304 else None


def test_an_unchanged_page_is_not_sent_again(viewer: ViewerServer, subtests: pytest.Subtests):
    for name in views():
        with subtests.test(name):
            url = url_of(viewer, name)
            if name in FORMS:
                assert "etag" not in get(viewer, url).headers
                continue
            # An adapter that exits changes its job, and with it the state of the page.
            tag, again = wait_until(lambda url=url: unchanged(viewer, url), "a page that does not change")
            assert (again.status, again.body) == (304, b"")
            assert again.headers["etag"] == tag


def test_an_unknown_parameter_gives_a_page_without_rows(viewer: ViewerServer, subtests: pytest.Subtests):
    for name in views():
        with subtests.test(name):
            answer = get(viewer, with_parameter(url_of(viewer, name), "colour=%3Cscript%3E"))
            text = answer.body.decode()
            assert (answer.status, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
            checks = PageChecks(text)
            assert checks.problems == []
            assert "colour" in text
            assert "<table" not in text


@pytest.mark.slow
def test_other_formats(viewer: ViewerServer, subtests: pytest.Subtests):
    for name in views():
        with subtests.test(name):
            alternates = page(viewer, name).alternates
            formats = {path_of(each).rpartition(".")[2]: each for each in alternates}
            assert "json" in formats
            assert isinstance(get(viewer, formats["json"]).body, dict | list)
            if "csv" in formats:
                answer = get(viewer, formats["csv"])
                assert answer.status == 200
                rows = list(csv.reader(io.StringIO(answer.body.decode())))
                assert rows
                cells = [cell for row in rows for cell in row]
                assert [
                    cell for cell in cells if cell.startswith(FORMULAS) and not NUMBER.fullmatch(cell)
                ] == []
            if "md" in formats:
                answer = get(viewer, formats["md"])
                assert answer.status == 200
                assert answer.headers["content-type"].startswith("text/markdown")


def test_sizes_on_the_wire(viewer: ViewerServer, subtests: pytest.Subtests):
    for name in views():
        with subtests.test(name):
            answer = get(viewer, url_of(viewer, name), Accept_Encoding="gzip")
            compressed = answer.headers.get("content-encoding") == "gzip"
            assert compressed or len(answer.body) < MIN_BYTES
            assert len(answer.body) <= HTML_LIMIT_BYTES
            body = gzip.decompress(answer.body) if compressed else answer.body
            assert body.startswith(b"<!doctype html>")


def test_sizes_of_assets(viewer: ViewerServer):
    text = get(viewer, "/ui/jobs").body.decode()
    found = set(re.findall(r'(?:href|src)="(/ui/assets/[^"]+\.(css|js|svg))"', text))
    limits = {"css": CSS_LIMIT_BYTES, "js": SCRIPT_LIMIT_BYTES, "svg": ICON_LIMIT_BYTES}
    assert {kind for _, kind in found} == set(limits)
    for url, kind in found:
        answer = get(viewer, url, Accept_Encoding="gzip")
        assert len(answer.body) <= limits[kind], url
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
