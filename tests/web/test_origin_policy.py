"""Host and origin rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_common.urls import host_of
from evalhub_server.errors import SettingsError
from evalhub_server.web.origin_policy import HostRule, OriginRule

OURS = [
    "localhost",
    "localhost:8080",
    "LOCALHOST:1",
    "localhost.",
    "app.localhost:3000",
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.8.9.10:80",
    "[::1]",
    "[::1]:8080",
    " localhost\t",
]
FOREIGN = [
    "",
    "evil.example",
    "localhost.evil.example",
    "evil-localhost",
    "127.0.0.1.evil.example",
    "localhost:8080.evil.example",
    "localhost@evil.example",
    "evil.example#localhost",
    "localhost:8080:8080",
    "localhost:",
    "localhost:123456",
    "local host",
    "[::1",
    "::1",
    "[localhost]",
    "[127.0.0.1]x",
    "localhost%00.evil.example",
    "localhost\\evil.example",
    "localhost/evil",
    "localhost..",
    ".localhost.evil",
    "ⓛocalhost",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0.0.0.0",
    "192.168.0.1",
]


@pytest.mark.parametrize("authority", OURS)
def test_loopback_hosts_are_allowed_with_any_port(authority: str):
    assert HostRule("127.0.0.1").allows(authority)


@pytest.mark.parametrize("authority", FOREIGN)
def test_other_hosts_are_not_allowed(authority: str):
    assert not HostRule("127.0.0.1").allows(authority)


def test_the_bound_and_the_configured_hosts_are_allowed():
    rule = HostRule("10.0.0.5", ["Box.Example.org.", "fd00::1", "[fd00::2]"])
    for authority in ("10.0.0.5:80", "box.example.org", "BOX.example.ORG.:8", "[fd00::1]:1", "[fd00::2]"):
        assert rule.allows(authority), authority
    for authority in ("10.0.0.6", "a.box.example.org", "example.org"):
        assert not rule.allows(authority), authority


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "[::]"])
def test_a_server_on_all_addresses_allows_addresses_but_not_names(bound: str):
    rule = HostRule(bound)
    assert all(rule.allows(host) for host in ("192.168.1.5:8080", "[fe80::1]", "0.0.0.0", "localhost"))
    assert not any(rule.allows(host) for host in ("evil.example", "192.168.1.5.evil.example", "1.2.3", ""))


@pytest.mark.parametrize(
    "entry", ["", "*", "*.example.org", "http://a", "a:80", "a/b", "a b", "a,b", "-a", "user@a", "ä"]
)
def test_an_invalid_configured_host_is_refused_with_a_hint(entry: str):
    with pytest.raises(SettingsError, match=r"service\.allowed_hosts: .*without scheme, port and wildcards"):
        HostRule("127.0.0.1", [entry])


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "authority", ["localhost", "localhost:3000", "127.0.0.1:5", "[::1]:5", "a.localhost"]
)
def test_loopback_origins_are_allowed(scheme: str, authority: str):
    assert OriginRule().allows(f"{scheme}://{authority}")


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "localhost",
        "//localhost",
        "ftp://localhost",
        "file://localhost",
        "chrome-extension://localhost",
        "http:localhost",
        "http://localhost/",
        "http://localhost/x",
        "http://localhost@evil.example",
        "http://localhost evil.example",
        "http://localhost, http://evil.example",
        "http://localhost.evil.example",
        "http://evil.example",
        "http://0.0.0.0:8080",
        "http://192.168.0.1",
        "http://[::ffff:7f00:1]",
        "*",
    ],
)
def test_other_origins_are_not_allowed(origin: str):
    assert not OriginRule().allows(origin)


def test_configured_origins_are_allowed_in_any_spelling():
    rule = OriginRule(["https://UI.example.org/", "http://ui.example.org:80", "moz-extension://abc"])
    for origin in (
        "https://ui.example.org",
        "https://ui.example.org:443",
        "http://ui.example.org",
        "moz-extension://abc",
    ):
        assert rule.allows(origin), origin
    for origin in ("https://ui.example.org:8443", "https://a.ui.example.org", "http://ui.example.org:443"):
        assert not rule.allows(origin), origin


def test_without_loopback_only_configured_origins_are_allowed():
    rule = OriginRule(["https://ui.example.org"], loopback=False)
    assert rule.allows("https://ui.example.org")
    assert not rule.allows("http://localhost:3000")


@pytest.mark.parametrize(
    "entry", ["*", "https://*", "https://*.example.org", "null", "example.org", "https://a/b", ""]
)
def test_an_invalid_configured_origin_is_refused_with_a_hint(entry: str):
    with pytest.raises(SettingsError, match=r"service\.allowed_origins: .*There is no wildcard"):
        OriginRule([entry])


@given(st.text())
def test_any_text_is_decided_without_an_error(text: str):
    host_of(text)
    HostRule("0.0.0.0").allows(text)
    OriginRule().allows(text)


@given(st.from_regex(r"[a-z0-9.-]{1,30}\.example", fullmatch=True))
def test_public_host_names_are_not_allowed(name: str):
    assert not HostRule("0.0.0.0").allows(name)
    assert not OriginRule().allows(f"http://{name}")
