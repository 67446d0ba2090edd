"""The server behind a real reverse proxy under a path prefix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import Answer, Config, RunningServer
from harness.raw import raw_request
from harness.reverse_proxy import ReverseProxy
from harness.running import call
from harness.server import API

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def server_with(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RunningServer]]:
    """The server with a ``root_path``, or with a trusted proxy if that is empty; each is started once."""
    with ExitStack() as started:

        @cache
        def server(root_path: str) -> RunningServer:
            service = {"root_path": root_path} if root_path else {"trusted_proxies": ["127.0.0.0/8"]}
            config = Config(tmp_path_factory.mktemp("prefix") / "config", service=service)
            config.provider("exit 3", "b", provider_id="one")
            config.provider("exit 3", "b", provider_id="two")
            return started.enter_context(RunningServer(config.folder))

        yield server


PREFIXES, MODES = ("/evalhub", "/team/evalhub", "/api"), ("stripped", "named", "kept")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((prefix, mode), marks=[] if mode == MODES[number] else pytest.mark.slow)
        for number, prefix in enumerate(PREFIXES)
        for mode in MODES
    ],
    ids="-".join,
)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A prefix, and what the proxy does with it: every pair, each of both once in the default tests."""
    return request.param


@pytest.fixture(scope="module")
def prefix(case: tuple[str, str]) -> str:
    return case[0]


@pytest.fixture(scope="module")
def behind(case: tuple[str, str], server_with: Callable[[str], RunningServer]) -> Iterator[ReverseProxy]:
    prefix, mode = case
    named = mode == "named"
    server = server_with("" if named else f"{prefix}/")
    with ReverseProxy(server.port, prefix, strips=mode != "kept", names=named) as proxy:
        yield proxy


def get(proxy: ReverseProxy, path: str) -> Answer:
    answer = call(proxy.port, "GET", path)
    return answer._replace(body=answer.body.decode()) if isinstance(answer.body, bytes) else answer


def test_pages_of_lists_are_followed(behind: ReverseProxy, prefix: str):
    page = get(behind, f"{prefix}{API}/providers?limit=1").body
    assert page["first"]["href"] == f"{prefix}{API}/providers?limit=1"
    assert page["next"]["href"] == f"{prefix}{API}/providers?limit=1&offset=1"
    second = get(behind, page["next"]["href"]).body
    assert [item["resource"]["id"] for item in page["items"] + second["items"]] == ["one", "two"]
    assert "next" not in second


def test_redirects_stay_under_the_prefix(behind: ReverseProxy, prefix: str):
    for path in (f"{API}//providers", f"/x/..{API}/providers", f"//{API[1:]}/providers"):
        answer = get(behind, f"{prefix}{path}?limit=1")
        assert (answer.status, answer.headers["location"]) == (307, f"{prefix}{API}/providers?limit=1")
        assert get(behind, answer.headers["location"]).status == 200


def test_the_documentation_page_and_its_files_are_found(behind: ReverseProxy, prefix: str):
    page = get(behind, f"{prefix}/docs").body
    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert call(behind.port, "GET", f"{prefix}/{link}").status == 200, link


@cache
def parsed(text: str) -> Any:
    """YAML as data; three servers send the same text, and a second of processor time is what it takes to read."""
    return yaml.load(text, yaml.CSafeLoader)


def test_the_openapi_document_names_the_prefix(behind: ReverseProxy, prefix: str):
    document = get(behind, f"{prefix}/openapi.json").body
    assert document["servers"] == [{"url": prefix}]
    text = get(behind, f"{prefix}/openapi.yaml").body
    assert parsed(text) == document
    assert get(behind, f"{prefix}/api/v1/health").status == 200


def test_other_paths_are_404(behind: ReverseProxy, prefix: str):
    assert get(behind, f"{prefix}/").headers["location"] == f"{prefix}/ui/jobs"
    for path in (f"{prefix}/nowhere", f"{prefix}/evaluations/providers"):
        assert get(behind, path).status == 404, path


def test_a_header_of_any_other_client_or_with_another_value_is_ignored(tmp_path: Path):
    config = Config(tmp_path / "config", service={"root_path": "/own", "trusted_proxies": ["127.0.0.9"]})
    with RunningServer(config.folder) as server:
        answer = raw_request(server.port, "GET", f"{API}/jobs", "X-Forwarded-Prefix: /theirs")
        assert answer.body["first"]["href"] == f"/own{API}/jobs"
    config = Config(tmp_path / "trusts", service={"trusted_proxies": ["127.0.0.1"]})
    with RunningServer(config.folder) as server:
        for value, expected in {
            "/a": "/a",
            "/a/": "/a",
            "/a,/b": "/a/b",
            "/a, /b/c": "/a/b/c",
            "/": "",
            "": "",
            "//evil.example": "",
            "https://evil.example": "",
            "/../x": "",
            "/a/..": "",
            "/a\\b": "",
            "/%2e%2e": "",
            '/"><script>': "",
            "/" + "a" * 1000: "",
        }.items():
            answer = raw_request(server.port, "GET", f"{API}/jobs", f"X-Forwarded-Prefix: {value}")
            assert answer.body["first"]["href"] == f"{expected}{API}/jobs", value
            document = raw_request(server.port, "GET", "/openapi.json", f"X-Forwarded-Prefix: {value}").body
            assert document["servers"] == [{"url": expected or "/"}], value


def test_the_token_is_required_and_callbacks_are_redacted_under_the_prefix(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    service = {"root_path": "/evalhub", "auth_token_file": str(token)}
    config = Config(tmp_path / "config", service=service)
    config.scripted("completed")
    with RunningServer(config.folder) as server:
        assert raw_request(server.port, "GET", f"/evalhub{API}/jobs").status == 401
        assert raw_request(server.port, "GET", "/evalhub/docs/../api/v1/evaluations/jobs").status == 307
        assert raw_request(server.port, "GET", "/evalhub/api/v1/ready").status == 200
        server.headers = {"Authorization": f"Bearer {TOKEN}"}
        assert server.get(f"/evalhub{API}/jobs")["total_count"] == 0
        server.finished(server.submit())  # the adapter reports to the server itself, without the prefix
        secret = "s" * 43
        assert (
            raw_request(server.port, "POST", f"/evalhub/callback/{secret}{API}/jobs/x/events").status == 401
        )
        assert secret not in server.log_text()
