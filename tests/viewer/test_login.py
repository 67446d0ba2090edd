"""Login, sessions and the origin of forms, over HTTP and in a real browser."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest

from harness import Answer, Config, RunningServer, wait_until
from harness.browser import Browser, needs_chromium
from harness.reverse_proxy import ReverseProxy
from harness.server import API

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def guarded(folder: Path, **sections: Mapping[str, object]) -> Config:
    (folder / "token").write_text(f"{TOKEN}\n")
    service = {"port": 0, "auth_token_file": str(folder / "token"), **sections.pop("service", {})}
    config = Config(folder / "config", service=service, **sections)
    config.provider("sleep 600 # waits for the test's own events", "b")
    return config


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = guarded(tmp_path_factory.mktemp("login"), service={"allowed_hosts": ["pages.example"]})
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[[], RunningServer]]:
    """Starts a server of the test's own."""
    with RunningServer(guarded(tmp_path).folder) as running:
        yield lambda: running


def post(server: RunningServer, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
    origin = {"Origin": f"http://localhost:{server.port}", "Host": f"localhost:{server.port}"}
    sent = {**FORM, **origin, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return server.call("POST", path, urlencode(fields).encode(), {n: v for n, v in sent.items() if v})


def session(server: RunningServer, token: str = TOKEN) -> dict[str, str]:
    """The cookie of a new session."""
    answer = post(server, "/ui/login", {"token": token, "next": "/ui/jobs"})
    assert answer.status == 303, answer
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def test_without_a_session_a_page_leads_to_the_login_and_back(server: RunningServer):
    answer = server.call("GET", "/ui/jobs?state=failed")
    assert answer.status == 303
    assert answer.headers["location"] == "/ui/login?next=%2Fui%2Fjobs%3Fstate%3Dfailed"
    page = server.get(answer.headers["location"])
    assert '<input type="hidden" name="next" value="/ui/jobs?state=failed">' in page
    logged_in = post(server, "/ui/login", {"token": TOKEN, "next": "/ui/jobs?state=failed"})
    assert (logged_in.status, logged_in.headers["location"]) == (303, "/ui/jobs?state=failed")
    cookie = logged_in.headers["set-cookie"]
    assert "; Path=/ui; HttpOnly; SameSite=Strict; Max-Age=43200" in cookie
    assert TOKEN not in cookie
    assert server.call("GET", "/ui/jobs", headers={"Cookie": cookie.partition(";")[0]}).status == 200


def test_the_root_leads_to_the_login(server: RunningServer):
    assert server.call("GET", "/").headers["location"] == "/ui/jobs"
    assert server.call("GET", "/ui/jobs").headers["location"].startswith("/ui/login")


def test_the_cookie_opens_the_pages_and_nothing_else(server: RunningServer):
    cookie = session(server)
    assert server.call("GET", f"/ui{API}/jobs", headers=cookie).body["total_count"] == 0
    assert server.call("GET", f"{API}/jobs", headers=cookie).status == 401
    body = {"name": "n", "benchmarks": []}
    assert server.call("POST", f"/ui{API}/jobs", body, headers=cookie).status == 404
    assert server.call("DELETE", f"/ui{API}/jobs/x", headers=cookie).status == 404


def test_requests_of_scripts_get_an_error_instead_of_the_login(server: RunningServer):
    for path in ("/ui/jobs?part=live", f"/ui{API}/jobs"):
        assert server.call("GET", path, headers={"Sec-Fetch-Mode": "cors"}).status == 401
    assert server.call("GET", "/ui/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example", "/ui/\\evil", "/api/v1/health", "/ui/a b", ""]
)
def test_a_login_leads_to_pages_of_this_server_only(server: RunningServer, target: str):
    answer = post(server, "/ui/login", {"token": TOKEN, "next": target})
    assert (answer.status, answer.headers["location"]) == (303, "/ui/jobs")


def test_malformed_cookies_of_other_servers_do_not_hide_the_session(server: RunningServer):
    own = session(server)["Cookie"]
    for other in ('settings={"a": 1}', "a b=c", "=", "lonely", '"', own.partition("=")[0] + "=old"):
        for cookies in (f"{other}; {own}", f"{own}; {other}"):
            assert server.call("GET", "/ui/jobs", headers={"Cookie": cookies}).status == 200, cookies


def test_forged_and_expired_cookies_do_not_log_in(server: RunningServer):
    name, _, value = session(server)["Cookie"].partition("=")
    decoded = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    expires, _, mac = decoded.partition(b".")
    later = b"%d" % (int(expires) + 1)
    forged = [base64.urlsafe_b64encode(later + b"." + mac).decode(), value[:-4], "x", "", "é"]
    for each in forged:
        assert server.call("GET", "/ui/jobs", headers={"Cookie": f"{name}={each}"}).status == 303, each


def test_a_new_token_ends_sessions(own: Callable[[], RunningServer]):
    server = own()
    cookie = session(server)
    file = server.configdir.parent / "token"
    file.write_text(f"{OTHER}\n")
    os.utime(file, ns=(1, 1))
    wait_until(lambda: server.call("GET", "/ui/jobs", headers=cookie).status == 303, "the old session to end")
    assert server.call("GET", "/ui/jobs", headers=session(server, OTHER)).status == 200


def test_wrong_tokens_are_limited(own: Callable[[], RunningServer]):
    server = own()
    for _ in range(5):
        answer = post(server, "/ui/login", {"token": "wrong", "next": "/ui/jobs"})
        assert answer.status == 403
        assert "not the token of this server" in answer.body
    answer = post(server, "/ui/login", {"token": TOKEN})
    assert answer.status == 429
    assert 0 < int(answer.headers["retry-after"]) <= 61


def test_a_logout_ends_the_session_of_the_browser(server: RunningServer):
    answer = post(server, "/ui/logout", {}, Cookie=session(server)["Cookie"])
    assert (answer.status, answer.headers["location"]) == (303, "/ui/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_a_link_logs_in_once(server: RunningServer):
    assert server.call("POST", "/ui/links").status == 401
    answer = server.call("POST", "/ui/links", headers={"Authorization": f"Bearer {TOKEN}"})
    path = answer.body["path"]
    assert (answer.status, answer.headers["cache-control"]) == (201, "no-store")
    first = server.call("GET", path)
    assert (first.status, first.headers["location"]) == (303, "/ui/jobs")
    again = server.call("GET", path)
    assert again.status == 403
    assert "used already" in again.body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Sec_Fetch_Site": "same-origin"}, 303),
        ({"Origin": "", "Sec_Fetch_Site": "same-origin"}, 303),
        ({"Origin": ""}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 403),
        ({"Origin": "https://localhost:{port}"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
    ],
)
def test_forms_come_from_exactly_this_origin(server: RunningServer, headers: dict[str, str], status: int):
    sent = {name: value.replace("{port}", str(server.port)) for name, value in headers.items()}
    assert post(server, "/ui/login", {"token": TOKEN}, **sent).status == status


def test_a_refused_form_names_the_address_and_the_setting(server: RunningServer):
    answer = post(server, "/ui/login", {"token": TOKEN}, Origin="http://localhost:1")
    assert "service.root_url" in answer.body
    assert f"http://localhost:{server.port}" in answer.body


def test_other_bodies_than_forms_are_refused(server: RunningServer):
    for body, media_type in ((b"{}", "application/json"), (b"\xff=%ff", FORM["Content-Type"])):
        headers = {"Content-Type": media_type, "Origin": f"http://127.0.0.1:{server.port}"}
        headers["Host"] = f"127.0.0.1:{server.port}"
        assert server.call("POST", "/ui/login", body, headers).status == 400


def test_behind_a_proxy_the_configured_address_counts(tmp_path: Path):
    config = guarded(tmp_path, service={"root_url": "https://hub.example/team"})
    with RunningServer(config.folder) as server:
        headers = {"Host": "hub.example", "Origin": "https://hub.example"}
        answer = post(server, "/ui/login", {"token": TOKEN}, **headers)
        assert (answer.status, answer.headers["location"]) == (303, "/team/ui/jobs")
        assert answer.headers["set-cookie"].startswith("__Secure-evalhub_session_")
        assert "; Secure" in answer.headers["set-cookie"]
        assert "Path=/team/ui;" in answer.headers["set-cookie"]
        other = post(
            server, "/ui/login", {"token": TOKEN}, Host="hub.example", Origin="https://other.example"
        )
        assert other.status == 403


def test_a_trusted_proxy_names_the_address(tmp_path: Path):
    config = guarded(tmp_path, service={"trusted_proxies": ["127.0.0.1"], "allowed_hosts": ["hub.example"]})
    with RunningServer(config.folder) as server:
        headers = {
            "Origin": "https://hub.example",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "hub.example",
        }
        assert post(server, "/ui/login", {"token": TOKEN}, **headers).status == 303
        headers["X-Forwarded-Host"] = "evil.example"
        assert post(server, "/ui/login", {"token": TOKEN}, **headers).status == 403


def test_the_pages_are_off_on_a_public_address_without_a_token(tmp_path: Path):
    config = Config(tmp_path / "config", service={"host": "0.0.0.0"})
    with RunningServer(config.folder) as server:
        assert server.call("GET", "/ui/jobs").status == 404
        (warning,) = [line for line in server.log_lines() if line["msg"].startswith("Pages are off")]
        assert "service.auth_token_file" in warning["msg"]


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "pages.example"])
def test_a_person_logs_in_and_out(server: RunningServer, host: str):
    with Browser() as browser, browser.tab() as tab:
        tab.open(f"http://{host}:{server.port}/ui/jobs?sort=name")
        tab.page.fill("#token", TOKEN)
        tab.page.press("#token", "Enter")
        tab.page.wait_for_url(f"http://{host}:{server.port}/ui/jobs?sort=name")
        assert "No jobs yet" in tab.text("main")
        tab.page.click("text=Log out")
        tab.page.wait_for_url(re.compile("/ui/login"))
        assert tab.open(f"http://{host}:{server.port}/ui/jobs") == 200
        assert "Token" in tab.text("main")
        assert tab.console == []


@needs_chromium
@pytest.mark.slow
def test_a_person_logs_in_behind_a_proxy(tmp_path: Path):
    config = guarded(tmp_path, service={"trusted_proxies": ["127.0.0.1"]})
    with (
        RunningServer(config.folder) as server,
        ReverseProxy(server.port, "/hub", strips=True, names=True) as proxy,
        Browser() as browser,
        browser.tab() as tab,
    ):
        tab.open(f"http://localhost:{proxy.port}/hub/ui/jobs")
        tab.page.fill("#token", TOKEN)
        tab.page.press("#token", "Enter")
        tab.page.wait_for_url(f"http://localhost:{proxy.port}/hub/ui/jobs")
        assert "No jobs yet" in tab.text("main")
