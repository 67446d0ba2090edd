"""URLs, authorities and origins."""

from __future__ import annotations

import pytest

from evalhub_common.http_auth import basic_auth, userinfo_auth
from evalhub_common.urls import (
    host_of,
    normalize_origin,
    origin_host,
    port_of,
    split_http_url,
    without_userinfo,
)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://a.example", "a.example", 80),
        ("HTTPS://A.Example:8443/x?y#z", "a.example", 8443),
        ("https://u:p@[fd00::1]", "fd00::1", 443),
        ("http://127.0.0.1:65535/", "127.0.0.1", 65535),
    ],
)
def test_a_url_is_split(url: str, host: str, port: int):
    parts = split_http_url(url)
    assert parts is not None
    assert (parts.hostname, port_of(parts)) == (host, port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "//a.example",
        "ftp://a.example",
        "http://",
        "http:///path",
        "http://:80",
        "http://a:b",
        "http://a:0",
        "http://a:65536",
        "http://[::1",
        "http://[nonsense]/",
    ],
)
def test_text_that_is_not_an_http_url(url: str):
    assert split_http_url(url) is None


def test_user_and_password_become_a_header_and_leave_the_url():
    parts = split_http_url("https://a%40b:p%3Aw@host.example:8443/x")
    assert parts is not None
    assert userinfo_auth(parts) == basic_auth("a@b", "p:w") == "Basic YUBiOnA6dw=="
    bare = without_userinfo(parts)
    assert bare.geturl() == "https://host.example:8443/x"
    assert userinfo_auth(bare) == ""


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Example.org:8080", "example.org"),
        ("example.org.", "example.org"),
        ("[::1]:80", "::1"),
        ("[FD00::1]", "fd00::1"),
        ("a_b", "a_b"),
        ("", None),
        ("a b", None),
        ("a/b", None),
        ("user@a", None),
        ("a:b", None),
        ("::1", None),
        ("a:123456", None),
        ("localhost..", None),
    ],
)
def test_the_host_of_an_authority(authority: str, host: str | None):
    assert host_of(authority) == host


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("HTTPS://Example.org:443", "https://example.org"),
        ("http://example.org:80", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("chrome-extension://abc", "chrome-extension://abc"),
        ("null", None),
        ("https://example.org/", None),
        ("https://*", None),
    ],
)
def test_origins_are_normalized(text: str, origin: str | None):
    assert normalize_origin(text) == origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("HTTP://Localhost.:3000", "localhost"),
        ("https://[::1]", "::1"),
        ("chrome-extension://abc", None),
        ("null", None),
        ("", None),
    ],
)
def test_the_host_of_an_origin(origin: str, host: str | None):
    assert origin_host(origin) == host
