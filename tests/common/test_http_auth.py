"""Challenges of ``WWW-Authenticate`` headers."""

from __future__ import annotations

import pytest

from evalhub_common.http_auth import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ('Basic realm="a realm"', [Challenge("basic", {"realm": "a realm"})]),
        (
            'Bearer realm="https://auth.test/token",service="reg",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.test/token",
                        "service": "reg",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            'BEARER Realm=x , error="invalid_token", Basic realm="say \\"hi\\""',
            [
                Challenge("bearer", {"realm": "x", "error": "invalid_token"}),
                Challenge("basic", {"realm": 'say "hi"'}),
            ],
        ),
        ("Negotiate", [Challenge("negotiate", {})]),
        ("Negotiate, Basic realm=x", [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        ("", []),
        ("realm=x", []),
        ('Basic realm="unfinished', [Challenge("basic", {}), Challenge("realm", {})]),
    ],
)
def test_a_header(header: str, challenges: list[Challenge]):
    assert parse_challenges([header]) == challenges


def test_several_headers_in_their_order():
    assert [c.scheme for c in parse_challenges(["Bearer realm=x", "Basic realm=y"])] == ["bearer", "basic"]
