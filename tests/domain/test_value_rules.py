"""What each rule on a single value accepts and refuses (rest-api §3.3, 2.3, 4.2)."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.value_rules import CHECKS
from evalhub_server.models.rules import (
    DNS_LABEL,
    GIT_CLONE_URL,
    NOT_BLANK,
    REQUIRED,
    TAG_NAME,
    TIMESTAMP,
    URL,
    Rule,
    max_items,
    max_length,
    minimum,
    one_of,
)


def broken(rule: Rule, value: Any) -> bool | str:
    return CHECKS[rule.name](value, rule.limit)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://localhost",
        "http://localhost:8000/v1",
        "localhost:8000",
        "ftp://x",
        "s3://b",
        "file:///etc",
        "mailto:a@b",
        "data:,x",
        "http://x:99999",
        "http://u:p@h",
        "HTTP://X",
        "http://[::1]:8000/v1",
        "http://m.example/v1?x=1#f",
        "https://#fragment",
        "http://x:",
        "http://é.example/é",
        "http://[fe80::1%25en0]/",
        "http://u%20:p@x@h/%41?100%#%41",
        "x:100%",
    ],
)
def test_a_url_with_a_scheme_and_something_behind_it_is_accepted(url: str) -> None:
    assert not broken(URL, url)


@pytest.mark.parametrize(
    "url",
    [
        " ",
        "x",
        "/abs",
        "//x",
        "http://",
        "http:",
        "http:/x",
        "http:?x",
        "http://?x",
        "http://u:p@",
        "unix:/x",
        "file:",
        "file://",
        "file:///",
        ":x",
        "1http://x",
        "http://a b",
        "http://a ",
        " http://a",
        "http://a\n",
        "http://a\x00",
        "http://a\x7f",
        "http://a:port",
        "http://a:-1",
        "http://a:80:80",
        "http://[::1",
        "http://::1]",
        "http://[x]",
        "http://[fe80::1%en0]/",
        "http://%41",
        "http://a%zz",
        "http://a/%zz",
        "http://a/%4",
        "http://a#%zz",
        "http://a\\b",
        "http://a|b",
        "http://{a}",
        "http://u|:p@a",
        "file://a:port/x",
    ],
)
def test_a_text_that_is_no_url_is_refused(url: str) -> None:
    assert broken(URL, url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://github.com/org/repo.git",
        "http://h.com/x",
        "HTTPS://H.com/x",
        "https://user:token@h.com/x",
        "https://localhost@h.com/x",
        "https://8.8.8.8/x",
        "https://[2001:4860:4860::8888]/x",
        "https://100.64.0.1/x",
        "https://2130706433/x",
        "https://notlocal/x",
        "https://svc/x",
        "https://h.com?localhost",
        "https://metadata.example.com/x",
    ],
)
def test_a_clone_url_on_a_public_host_is_accepted(url: str) -> None:
    assert not broken(GIT_CLONE_URL, url)


@pytest.mark.parametrize(
    "url",
    [
        "git@github.com:org/repo.git",
        "ssh://h.com/x",
        "ftp://h.com/x",
        "file:///x",
        "https://",
        "https:///x",
        "https:h.com",
        "https:/h.com",
        "h.com/x",
        "https://h.com/a b",
        "https://h.com:port/x",
        "https://h.com/%zz",
        "https://.",
    ],
)
def test_a_clone_url_that_is_no_http_url_breaks_a_rule_of_its_own(url: str) -> None:
    assert broken(GIT_CLONE_URL, url) == "http_url"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost.localdomain",
        "metadata",
        "metadata.google.internal",
        "a.svc.cluster.local",
        "a.b.svc",
        "printer.local",
        "Printer.Local.",
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[::ffff:127.0.0.1]",
        "user@localhost",
        "h.com@127.0.0.1",
        "localhost:8080",
        "[::1]:8080",
    ],
)
def test_a_clone_from_inside_is_blocked(host: str) -> None:
    assert broken(GIT_CLONE_URL, f"https://{host}/x") is True
    assert broken(GIT_CLONE_URL, f"http://{host}") is True


@pytest.mark.parametrize("tag", ["a", "x" * 128, "ä" * 128, "with space", " ", "a:b", "\n"])
def test_a_tag_is_accepted(tag: str) -> None:
    assert not broken(TAG_NAME, tag)


@pytest.mark.parametrize("tag", ["", "x" * 129, "a,b", "a|b"])
def test_a_tag_is_refused(tag: str) -> None:
    assert broken(TAG_NAME, tag)


@pytest.mark.parametrize("label", ["", "a", "0", "a-b", "x" * 63, "a0-9z"])
def test_a_dns_label_is_accepted(label: str) -> None:
    assert not broken(DNS_LABEL, label)


@pytest.mark.parametrize("label", ["A", "-a", "a-", "a.b", "a_b", " a", "a ", "a\n", "x" * 64, "ä"])
def test_a_dns_label_is_refused(label: str) -> None:
    assert broken(DNS_LABEL, label)


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "2026-01-12T10:45:32Z",
        "2026-01-12T10:45:32.5Z",
        "2026-01-12T10:45:32.123456789Z",
        "2026-01-12T10:45:32+02:00",
        "2026-01-12T10:45:32.123-11:30",
    ],
)
def test_a_timestamp_with_a_zone_is_accepted(stamp: str) -> None:
    assert not broken(TIMESTAMP, stamp)


@pytest.mark.parametrize(
    "stamp",
    [
        "now",
        "2026-01-12",
        "2026-01-12T10:45:32",
        "2026-01-12 10:45:32Z",
        "2026-13-12T10:45:32Z",
        "2026-02-30T10:45:32Z",
        "2026-01-12T25:45:32Z",
        "2026-01-12T10:45:32+0200",
        "2026-01-12T10:45:32.Z",
        "2026-01-12T10:45Z",
        "2026-01-12T10:45:32Z\n",
        "20260112T104532Z",
        "２０２６-01-12T10:45:32Z",  # noqa: RUF001  digits of another width
    ],
)
def test_a_timestamp_is_refused(stamp: str) -> None:
    assert broken(TIMESTAMP, stamp)


@pytest.mark.parametrize("value", ["", None, (), {}, msgspec.UNSET])
def test_what_is_empty_is_missing(value: Any) -> None:
    assert broken(REQUIRED, value)


@pytest.mark.parametrize("value", [" ", 0, 0.0, False, (1,), {"a": None}])
def test_what_is_there_is_not_missing(value: Any) -> None:
    assert not broken(REQUIRED, value)


@pytest.mark.parametrize(("value", "is_broken"), [("", True), (" \t\n", True), ("a", False), (" a ", False)])
def test_blank_is_not_enough(value: str, is_broken: bool) -> None:
    assert broken(NOT_BLANK, value) is is_broken


@pytest.mark.parametrize(
    ("rule", "value", "is_broken"),
    [
        (max_length(3), "äöü", False),
        (max_length(3), "äöüx", True),
        (max_length(3), "", False),
        (max_length(3), msgspec.UNSET, False),
        (max_items(2), (1, 2), False),
        (max_items(2), (1, 2, 3), True),
        (minimum(0), 0.0, False),
        (minimum(0), 1e300, False),
        (minimum(0), -0.1, True),
        (minimum(0), math.nan, True),
        (minimum(0), math.inf, True),
        (one_of("a", "b"), "", False),
        (one_of("a", "b"), "b", False),
        (one_of("a", "b"), "B", True),
    ],
)
def test_limits_hold(rule: Rule, value: Any, is_broken: bool) -> None:
    assert broken(rule, value) is is_broken
