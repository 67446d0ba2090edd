"""The proxy that the environment names for a URL."""

from __future__ import annotations

import pytest

from evalhub_common.proxies import Proxy, find_proxy, proxy_options

HEADERS = {"Accept": "text/plain"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("https_proxy", "http://user:p%40ss@secure.example:3129/ignored")


def test_the_scheme_selects_the_proxy():
    assert find_proxy("http://a.example") == Proxy("http://proxy.example:3128")
    assert find_proxy("https://a.example") == Proxy("http://secure.example:3129", "user:p%40ss", True)
    assert find_proxy("ftp://a.example") is None


def test_the_url_with_credentials_is_for_other_programs():
    secure, plain = find_proxy("https://a.example"), find_proxy("http://a.example")
    assert secure is not None
    assert plain is not None
    assert secure.url_with_userinfo == "http://user:p%40ss@secure.example:3129"
    assert plain.url_with_userinfo == plain.url


def test_this_computer_is_reached_directly():
    for host in ("localhost", "x.localhost", "127.0.0.1", "[::1]"):
        assert find_proxy(f"http://{host}:8080/x") is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", "http://a.example"),
        ("example", "http://a.example"),
        (".a.example", "http://a.example"),
        ("b, A.Example ,c", "http://a.example:8080"),
        ("a.example:8080", "http://a.example:8080"),
        ("10.1.2.3", "http://10.1.2.3:80"),
        ("10.0.0.0/8", "http://10.1.2.3"),
        ("10.0.0.1/8", "http://10.1.2.3"),
        ("nonsense/8,fd00::/8", "http://[fd00::1]:8080"),
    ],
)
def test_no_proxy_matches(no_proxy: str, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert find_proxy(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", "http://a.example"),
        ("b.example", "http://a.example"),
        ("a.example", "http://aa.example"),
        ("a.example:8080", "http://a.example:8081"),
        ("10.0.0.0/8", "http://11.1.2.3"),
        ("10.0.0.0/8", "http://a.example"),
        ("fd00::/8", "http://10.1.2.3"),
    ],
)
def test_no_proxy_does_not_match(no_proxy: str, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert find_proxy(url) is not None


def test_a_proxy_without_a_scheme_speaks_http(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "proxy.example:3128")
    assert find_proxy("http://a.example") == Proxy("http://proxy.example:3128")


def test_an_unusable_proxy_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "socks5://user:secret@proxy.example:1080")
    with pytest.raises(ValueError, match=r"'socks5://proxy\.example:1080' of the environment") as refusal:
        find_proxy("http://a.example")
    assert "secret" not in str(refusal.value)


def test_options_of_a_request(monkeypatch: pytest.MonkeyPatch):
    assert proxy_options("http://localhost", HEADERS) == {"headers": HEADERS}
    assert proxy_options("http://a.example", HEADERS) == {
        "headers": HEADERS,
        "proxy": "http://proxy.example:3128",
    }
    assert proxy_options("https://a.example", HEADERS) == {
        "headers": HEADERS,
        "proxy": "http://secure.example:3129",
        "proxy_headers": {"Proxy-Authorization": "Basic dXNlcjpwQHNz"},
    }
    monkeypatch.setenv("HTTP_PROXY", "http://user:x@proxy.example")
    assert proxy_options("http://a.example", HEADERS) == {
        "headers": {**HEADERS, "Proxy-Authorization": "Basic dXNlcjp4"},
        "proxy": "http://proxy.example",
    }
