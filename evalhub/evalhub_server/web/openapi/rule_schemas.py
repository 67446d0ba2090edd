"""The rules of :mod:`evalhub_server.models.rules` as JSON Schema.

:mod:`evalhub_server.domain.value_rules` enforces the rules; these schemas describe them to clients. Descriptions state what
JSON Schema cannot express (a name that must be a key of another object, blocked hosts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from evalhub_server.models.common import GitRef, HardwareConfig, Json, TestDataRef
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.job import JobRequest
from evalhub_server.models.provider import MetricProperties, ProviderBenchmark, ProviderConfig
from evalhub_server.models.rules import Rule

FORCING = frozenset({"required", "notblank"})
"""Rules that an absent value breaks."""

_ESCAPE = "%[0-9A-Fa-f]{2}"
_HOST = r"(\[[0-9A-Fa-f:.]+(%25[^\x00-\x20\x7f/?#@\[\]]+)?\]|[^\x00-\x20\x7f/?#@:%\[\]\\|{}^`]+)"
_AUTHORITY = rf"([A-Za-z0-9_.~!$&'()*+,;=%:@-]*@)?{_HOST}(:[0-9]*)?"
_PATH = rf"(/([^\x00-\x20\x7f?#%]|{_ESCAPE})*)?"
_QUERY = r"(\?[^\x00-\x20\x7f#]*)?"
_FRAGMENT = rf"#([^\x00-\x20\x7f%]|{_ESCAPE})"
_AT_A_HOST = rf"//{_AUTHORITY}{_PATH}{_QUERY}({_FRAGMENT}*)?"
_OPAQUE = rf"[^\x00-\x20\x7f/?#][^\x00-\x20\x7f#]*({_FRAGMENT}*)?"
_OF_A_DOCUMENT = rf"/?([^\x00-\x20\x7f/#][^\x00-\x20\x7f#]*)?{_FRAGMENT}+"
_FILE = rf"[Ff][Ii][Ll][Ee]:///([^\x00-\x20\x7f?#%]|{_ESCAPE})+"
_URL = rf"[A-Za-z][A-Za-z0-9+.-]*:({_AT_A_HOST}|{_OPAQUE}|{_OF_A_DOCUMENT})|{_FILE}"
_GIT_URL = rf"[Hh][Tt][Tt][Pp][Ss]?:{_AT_A_HOST}"
_DNS_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def validating(type_: str, **keywords: Json | list[Json]) -> Json:
    """Keywords that only validate values of a JSON type, beside its other keywords; null may be allowed, too.

    Client generators read ``oneOf``, ``anyOf`` and ``allOf`` there as further types of the value, and drop the operation or
    lose the type. They ignore ``then``, which validators apply.
    """
    return {"if": {"type": type_}, "then": keywords}


Keywords = Callable[[Json, Any, bool], Json]
"""Returns the keywords of a rule from the schema so far, the rule's limit, and whether the value is required."""


def _required(schema: Json, _limit: Any, _forced: bool) -> Json:
    least = {"string": "minLength", "array": "minItems"}.get(schema.get("type", ""))
    return {least: 1} if least else {}


def _most(schema: Json, limit: int, _forced: bool) -> Json:
    return {"maxItems" if schema.get("type") == "array" else "maxLength": limit}


def _text(pattern: str) -> Keywords:
    """The keywords of a string that matches ``pattern``; it may be empty where it may be absent."""
    return lambda _schema, _limit, forced: {"pattern": f"^({pattern}){'' if forced else '?'}$"}


KEYWORDS: dict[str, Keywords] = {
    "required": _required,
    "notblank": lambda _schema, _limit, _forced: {"pattern": r"\S"},
    "tagname": lambda _schema, _limit, _forced: {"minLength": 1, "maxLength": 128, "pattern": "^[^,|]*$"},
    "rfc1123_dns_label": _text(_DNS_LABEL),
    "url": _text(_URL),
    "git_clone_url": _text(_GIT_URL),
    "datetime": lambda _schema, _limit, _forced: validating(
        "string", anyOf=[{"format": "date-time"}, {"const": ""}]
    ),
    "max": _most,
    "min": lambda _schema, limit, _forced: {"minimum": limit},
    "oneof": lambda _schema, limit, forced: {"enum": [*limit] if forced else [*limit, ""]},
}


def forced(rules: tuple[Rule, ...]) -> bool:
    return any(rule.name in FORCING for rule in rules)


def with_rules(schema: Json, rules: tuple[Rule, ...]) -> Json:
    """The schema of a value that satisfies the rules."""
    for rule in rules:
        schema = schema | KEYWORDS[rule.name](schema, rule.limit, forced(rules))
    return schema


def _given(name: str, schema: Json) -> Json:
    """The schema of an object with the member; null is the same as absent."""
    return {"required": [name], "properties": {name: schema}}


_OBJECT: Json = {"type": "object"}
_NULL: Json = {"type": "null"}

# Not a rule, since collections may have it: jobs with it are refused with a specific code.
_UNRESOLVED: Json = {
    "properties": {"test_data_ref": {"properties": {"resolved_sha": {"enum": ["", None]}}}},
}
_UNRESOLVED_ALL: Json = {"properties": {"benchmarks": {"items": _UNRESOLVED}}}


STRUCT_KEYWORDS: dict[type[msgspec.Struct], Json] = {
    JobRequest: validating(
        "object",
        allOf=[_UNRESOLVED_ALL, {"properties": {"collection": _UNRESOLVED_ALL}}],
        oneOf=[
            {"title": "benchmarks", **_given("benchmarks", {"type": "array", "minItems": 1})},
            {"title": "a collection", **_given("collection", _OBJECT)},
        ],
    ),
    TestDataRef: validating(
        "object", oneOf=[{"title": name, **_given(name, _OBJECT)} for name in ("s3", "pvc", "git", "hf")]
    ),
    GitRef: {
        "if": _given("secret_ref", {"type": "string", "minLength": 1}),
        "then": {"properties": {"url": {"pattern": "^[Hh][Tt][Tt][Pp][Ss]:"}}},
    },
    HardwareConfig: validating(
        "object",
        anyOf=[
            {"title": "a profile", "properties": dict.fromkeys(("queue", "cpu", "memory", "gpu"), _NULL)},
            {"title": "direct values", "properties": {"hardware_profile_name": {"enum": ["", None]}}},
        ],
    ),
    BenchmarkEvent: {},  # every name in metrics_schema is a key of metrics, once
    ProviderBenchmark: {},  # no two metric_properties are of the same metric
    MetricProperties: {},  # the first number of range is the smaller one
    ProviderConfig: {},  # runtime.k8s and runtime.local have models of their own
}
"""Keywords of rules that concern several members of an object."""
