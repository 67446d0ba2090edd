"""Markers that say, beside a field's type, what the contract demands of its value.

They only describe. :mod:`evalhub_server.domain.validation` walks a decoded Struct and checks them. The
names are the ones that clients find in the message of ``request_validation_failed``.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Rule(NamedTuple):
    """One demand on a value; ``limit`` is a number or a tuple of allowed strings where the rule needs one.

    ``added``: the released server does not have it. Such failures are reported last, so that a request which that
    server refuses too is refused in the same words.
    """

    name: str
    limit: Any = None
    added: bool = False


REQUIRED = Rule("required")
ALSO_REQUIRED = Rule("required", added=True)
NOT_BLANK = Rule("notblank")
TAG_NAME = Rule("tagname")
DNS_LABEL = Rule("rfc1123_dns_label")
URL = Rule("url")
GIT_CLONE_URL = Rule("git_clone_url")
TIMESTAMP = Rule("datetime")


def max_length(characters: int) -> Rule:
    return Rule("max", characters)


def max_items(count: int) -> Rule:
    return Rule("max", count)


def minimum(value: float) -> Rule:
    return Rule("min", value)


def one_of(*allowed: str) -> Rule:
    return Rule("oneof", allowed)
