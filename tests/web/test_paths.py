"""Request paths: cleaning and decoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.web.paths import SLASH, clean, is_clean, redirect_page, routing_path

PIECES = st.sampled_from(
    ["/", "//", ".", "..", "a", "%2F", "%2e", "%00", "\\", "?", "evil.example", '"', "<"]
)


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        (b"//", "/"),
        (b"//evil.example/x", "/evil.example/x"),
        (b"///a", "/a"),
        (b"/a//b", "/a/b"),
        (b"/a//", "/a/"),
        (b"/a/./b", "/a/b"),
        (b"/a/../b", "/b"),
        (b"/../../b", "/b"),
        (b"/a/..", "/"),
        (b"/a/.", "/a"),
        (b"/a/..//", "/"),
        (b"/a/../\\evil.example", "/%5Cevil.example"),
        (b"/.well-known", "/.well-known"),
        (b"/a/%2e%2e/b//", "/a/%2e%2e/b/"),
        (b'//<b>"', "/%3Cb%3E%22"),
    ],
)
def test_clean(path: bytes, cleaned: str):
    assert clean(path) == cleaned


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        (b"/jobs/a%2Fb", f"/jobs/a{SLASH}b"),
        (b"/jobs/a%252Fb", "/jobs/a%2Fb"),
        (b"/jobs/a%2fb%20c", f"/jobs/a{SLASH}b c"),
        (b"/jobs/%2e%2e/x", "/jobs/../x"),
        (b"/jobs/%00", "/jobs/\0"),
        (b"/jobs/%c3%a4%ff", "/jobs/ä\ufffd"),
        (b"/jobs/100%", "/jobs/100%"),
    ],
)
def test_routing_path(path: bytes, decoded: str):
    assert routing_path(path) == decoded


@given(st.lists(PIECES))
def test_a_location_never_leads_to_another_host(pieces: list[str]):
    location = clean(("/" + "".join(pieces)).encode())
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))
    assert is_clean(location.encode()) or "/." in location
    assert clean(location.encode()) == location
    assert "<b>" not in redirect_page("<b>").decode()


@given(st.lists(PIECES))
def test_decoding_makes_no_new_segment(pieces: list[str]):
    path = "/" + "".join(pieces)
    assert routing_path(path.encode()).count("/") == path.count("/")
