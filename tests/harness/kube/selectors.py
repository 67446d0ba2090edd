"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.kube import problems
from harness.kube.kinds import Object, labels_of, name_of, namespace_of

Test = Callable[[Object], bool]

_SET = re.compile(r"(?P<key>[^\s!=,()]+)\s+(?P<op>in|notin)\s+\((?P<values>[^)]*)\)")
_EQUAL = re.compile(r"(?P<key>[^\s!=,()]+)\s*(?P<op>==|!=|=)\s*(?P<value>[^\s!=,()]*)")
_EXISTS = re.compile(r"(?P<not>!?)(?P<key>[^\s!=,()]+)")


def label_test(selector: str) -> Test:
    """Raises :class:`Refused` for one that cannot be read."""
    tests = [_label(term.strip()) for term in re.split(r",(?![^(]*\))", selector) if term.strip()]
    return lambda thing: all(test(thing) for test in tests)


def _label(term: str) -> Test:
    if match := _SET.fullmatch(term):
        values = {value.strip() for value in match["values"].split(",")}
        inside = match["op"] == "in"
        return lambda thing: (labels_of(thing).get(match["key"]) in values) is inside
    if match := _EQUAL.fullmatch(term):
        same = match["op"] != "!="
        return lambda thing: (labels_of(thing).get(match["key"]) == match["value"]) is same
    if match := _EXISTS.fullmatch(term):
        present = not match["not"]
        return lambda thing: (match["key"] in labels_of(thing)) is present
    raise problems.bad_request(f"unable to parse requirement: {term!r}")


def field_test(selector: str) -> Test:
    """Only what every resource has: ``metadata.name`` and ``metadata.namespace``."""
    wanted: dict[str, str] = {}
    for term in filter(None, selector.split(",")):
        field, _, value = term.partition("=")
        if field not in ("metadata.name", "metadata.namespace"):
            raise problems.bad_request(f'field label not supported: "{field}"')
        wanted[field] = value.lstrip("=")

    def test(thing: Object) -> bool:
        found = {"metadata.name": name_of(thing), "metadata.namespace": namespace_of(thing)}
        return all(found[field] == value for field, value in wanted.items())

    return test
