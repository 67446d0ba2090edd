"""What all pages have in common, over HTTP: formats, errors, headers, conditional requests."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer
from harness.server import API


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("viewer") / "config")
    config.provider("sleep 600 # waits for the test's own events", "b")
    with RunningServer(config.folder) as running:
        running.submit("b", name="=first", tags=["x"])
        yield running


@pytest.mark.parametrize("path", ["/", "/ui"])
def test_the_root_leads_to_the_jobs(server: RunningServer, path: str):
    answer = server.call("GET", path)
    assert (answer.status, answer.headers["location"]) == (303, "/ui/jobs")


def test_a_page_may_load_files_of_this_server_only(server: RunningServer):
    answer = server.call("GET", "/ui/jobs")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';")
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert " style=" not in answer.body
    files = re.findall(r'(?:href|src)="(/ui/assets/[^"]+)"', answer.body)
    assert len(files) == 3
    for file in files:
        served = server.call("GET", file)
        assert served.status == 200
        assert served.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert server.call("GET", file.replace("/assets/", "/assets/0")).status == 404


def test_a_page_has_its_data_in_other_formats(server: RunningServer):
    page = server.call("GET", "/ui/jobs?tag=x").body
    assert [*re.findall(r'<link rel="alternate" href="([^"]+)"', page)] == [
        "/ui/jobs.json?tag=x",
        "/ui/jobs.csv?tag=x",
        "/ui/jobs.md?tag=x",
    ]
    assert server.get("/ui/jobs.json?tag=x")["items"][0]["name"] == "=first"
    csv = server.call("GET", "/ui/jobs.csv?tag=x")
    assert csv.headers["content-type"] == "text/csv; charset=utf-8"
    assert csv.headers["content-disposition"] == "inline; filename=\"jobs.csv\"; filename*=UTF-8''jobs.csv"
    assert "'=first" in csv.body
    assert "| =first |" in server.call("GET", "/ui/jobs.md?tag=x").body


def test_a_page_is_saved_as_one_file(server: RunningServer):
    answer = server.call("GET", "/ui/jobs.html?tag=x")
    assert (
        answer.headers["content-disposition"]
        == "attachment; filename=\"jobs.html\"; filename*=UTF-8''jobs.html"
    )
    assert "<script" not in answer.body
    assert "<link" not in answer.body
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', answer.body)
    (style,) = re.findall(r"<style>(.*)</style>", answer.body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert html.unescape(policy) == f"default-src 'none'; style-src 'sha256-{digest}'"
    links = re.findall(r' href="([^"]*)"', answer.body)
    assert links
    assert all(link.startswith((f"http://127.0.0.1:{server.port}/", "#")) for link in links), links


def test_links_of_saved_pages_lead_to_the_configured_address(tmp_path: Path):
    config = Config(tmp_path / "config", service={"port": 0, "root_url": "http://hub.example/team"})
    with RunningServer(config.folder) as server:
        host = {"Host": f"localhost:{server.port}"}
        saved = server.call("GET", "/ui/jobs.html", headers=host).body
        assert set(re.findall(r'href="(http://[^/]*/[^/]*)/', saved)) == {"http://hub.example/team"}
        assert "curl http://hub.example/team/api/v1/" in server.call("GET", "/ui/run", headers=host).body


def test_an_unknown_parameter_is_marked_and_no_rows_are_shown(server: RunningServer):
    answer = server.call("GET", "/ui/jobs?colour=red&q=first")
    assert answer.status == 400
    assert 'name="colour" value="red" aria-invalid="true"' in answer.body
    assert 'name="q" value="first"' in answer.body
    assert "<table" not in answer.body


@pytest.mark.parametrize(
    "query", ["state=banana", "sort=colour", "size=7", "offset=-1", "since=yesterday", "part=x", "theme=pink"]
)
def test_a_malformed_value_is_refused(server: RunningServer, query: str):
    answer = server.call("GET", f"/ui/jobs?{query}")
    assert answer.status == 400
    assert 'aria-invalid="true"' in answer.body or query.startswith(("part", "theme"))
    assert "<table" not in answer.body


def test_errors_in_other_formats_are_those_of_the_api(server: RunningServer):
    answer = server.call("GET", "/ui/jobs.json?state=banana")
    assert (answer.status, answer.body["message_code"]) == (400, "query_parameter_value_invalid")


@pytest.mark.parametrize(
    "path", ["/ui/nope", "/ui/jobs/", "/ui/jobs/none/x/y", "/ui/assets/1/x.js", "/ui/nope.csv"]
)
def test_an_address_without_a_page_is_not_found(server: RunningServer, path: str):
    answer = server.call("GET", path)
    assert answer.status == 404
    if not path.endswith("csv"):
        assert "<h1>Not Found</h1>" in answer.body


def test_an_unchanged_page_is_not_sent_again(server: RunningServer):
    tag = server.call("GET", "/ui/jobs").headers["etag"]
    again = server.call("GET", "/ui/jobs", headers={"If-None-Match": tag})
    assert (again.status, again.body) == (304, "")
    dark = {"If-None-Match": tag, "Cookie": "evalhub_theme=dark"}
    assert 'data-theme="dark"' in server.call("GET", "/ui/jobs", headers=dark).body
    server.submit("b", name="another")
    assert server.call("GET", "/ui/jobs", headers={"If-None-Match": tag}).status == 200


def test_the_live_part_is_a_fragment_of_the_page(server: RunningServer):
    part = server.call("GET", "/ui/jobs?part=live").body
    page = server.call("GET", "/ui/jobs").body
    table = part[part.index("<table") : part.index("</table>")]
    assert table in page
    assert "<html" not in part
    # Menus of an open page stay, so that their values are not counted every few seconds.
    assert "model=" in page[: page.index("<table")]
    assert "model=" not in part[: part.index("<table")]


def test_pages_are_off_where_they_are_not_enabled(tmp_path_factory: pytest.TempPathFactory):
    config = Config(tmp_path_factory.mktemp("without") / "config", viewer={"enabled": False})
    with RunningServer(config.folder) as running:
        assert running.call("GET", "/").body == "404 page not found\n"
        assert running.call("GET", "/ui/jobs").body == "404 page not found\n"
        assert running.get(f"{API}/jobs")["total_count"] == 0
