"""Validation rules of the contract, as annotations on the fields of the models.

:mod:`evalhub_server.domain.validation` checks a decoded Struct against them. Clients see the rules' names in the
message of ``request_validation_failed``.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Rule(NamedTuple):
    """One rule; ``limit`` is the number or the tuple of allowed strings that the rule needs, if any.

    ``added`` marks a rule that the released server lacks. Its failures are reported last, so that a request which
    the released server refuses as well gets the same message.
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
