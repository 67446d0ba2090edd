"""Decoding and validation of JSON requests.

:func:`decode` is as lenient as the contract: unknown fields are ignored, keys match in any case, null means absent.
:func:`validate` checks the rules that the models declare on their fields and reports all failures at once.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.refused_events import encoding_fault, number_fault
from evalhub_server.domain.struct_fields import fields_of, normalize_keys
from evalhub_server.domain.value_rules import CHECKS, PHRASES, SHORT_TEXTS, STRUCT_CHECKS, Check
from evalhub_server.errors import ApiError, FieldError
from evalhub_server.models.job import JobRequest
from evalhub_server.models.rules import Rule

T = TypeVar("T")

# A key with a capital letter may be another spelling of a field; only then is the slower path needed.
# The quantifiers are possessive: backtracking over a long string of capitals would take quadratic time.
_CAPITAL_KEY = re.compile(rb'"[^"\\A-Z]*+[A-Z][^"\\]*+"\s*+:')

MAX_DEPTH = 200
"""Far below Python's recursion limit: a document that one call stack can decode, a deeper one may fail to encode, and
a stored job that cannot be encoded would break every list that contains it."""
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_NEITHER_QUOTES_NOR_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))


class Failure(NamedTuple):
    """A rule that the value at ``path`` violates."""

    path: str
    rule: Rule


def decode(body: bytes, type_: type[T]) -> T:
    """Decode a JSON request. Raises ``invalid_json_request`` (400) for malformed JSON and for wrong types."""
    if not _CAPITAL_KEY.search(body) and body.strip() and not _too_deep(body):
        try:
            return msgspec.json.decode(body, type=type_)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass  # perhaps only a null, which the lenient path accepts as absent; if not, it reports the error
    return conform(parse(body), type_)


def decode_job(body: bytes) -> JobRequest:
    """Decode the request for a job as :func:`decode` does, with the keys of ``exports`` that the models do not define."""
    request = decode(body, JobRequest)
    if request.exports is None:
        return request
    given = [value for key, value in parse(body).items() if key.lower() == "exports" and value is not None]
    others = {key: value for key, value in given[-1].items() if key.lower() != "oci" and value is not None}
    return replace(request, exports=replace(request.exports, others=others))


def parse(body: bytes) -> Any:
    """Parse JSON. Raises ``invalid_json_request`` (400) if it is malformed or nested too deeply."""
    if not body.strip():
        raise problems.invalid_json("unexpected end of JSON input")
    if fault := encoding_fault(body):
        raise problems.invalid_json(fault)
    if _too_deep(body):
        raise problems.invalid_json(f"the document is nested deeper than {MAX_DEPTH} levels")
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if fault := number_fault(body):
            raise problems.invalid_json(fault) from None
        raise _invalid(error) from None


def conform(raw: Any, type_: type[T]) -> T:
    """Convert a parsed request as leniently as :func:`decode`. Raises ``invalid_json_request`` for wrong types."""
    try:
        return convert({} if raw is None else raw, type_)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: Exception) -> ApiError:
    truncated = "truncated" in str(error)
    return problems.invalid_json("unexpected end of JSON input" if truncated else str(error))


def _too_deep(body: bytes) -> bool:
    """Whether a document is nested deeper than :data:`MAX_DEPTH`."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    if b"\\" not in body:
        # Without escapes only quotes and brackets matter, and no pair of adjacent quotes: a third of the time.
        body = body.translate(None, _NEITHER_QUOTES_NOR_BRACKETS).replace(b'""', b"")
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(body):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def first_value(body: bytes) -> bytes:
    """The object or null at the start of a body, without what follows it; any other body is returned unchanged."""
    start = body.lstrip()
    if start.startswith(b"null"):
        return b"null"
    if not start.startswith(b"{"):
        return body
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(start):
        first = start[token.start()]
        depth += (first in b"[{") - (first in b"]}")
        if depth == 0:
            return start[: token.end()]
    return body


def convert(raw: Any, type_: type[T]) -> T:
    """Like :func:`decode`, for a parsed value (from YAML). Raises :class:`msgspec.ValidationError`."""
    return msgspec.convert(normalize_keys(raw, type_), type_)


def validate(value: msgspec.Struct, name: str) -> None:
    """Raise ``request_validation_failed`` (400) if ``value`` violates a rule; paths in the message start with ``name``."""
    if failures := failed_rules(value, name):
        raise validation_error(failures)


def validation_error(failures: list[Failure]) -> ApiError:
    """``request_validation_failed`` with the contract's message, and each failure as a field error."""
    return problems.validation_failed(describe(failures), [field_error(failure) for failure in failures])


def field_error(failure: Failure) -> FieldError:
    """A failed rule, with the path as clients and files write it."""
    path = failure.path.partition(".")[2].replace("Ref.id", "id")
    rule = failure.rule
    phrase = PHRASES.get(rule.name)
    if phrase is None:
        return FieldError(path, SHORT_TEXTS[rule.name](_last(path), rule.limit))
    allowed = ", ".join(rule.limit) if rule.name == "oneof" else rule.limit
    return FieldError(path, phrase.format(limit=allowed))


def describe(failures: list[Failure]) -> str:
    """The contract's message for failed rules: one line each, or only the first's short text if it has one."""
    failures = sorted(failures, key=lambda failure: failure.rule.added)
    first = failures[0]
    short = SHORT_TEXTS.get(first.rule.name)
    if short is not None:
        return short(_last(first.path), first.rule.limit)
    return "\n".join(
        f"Key: '{path}' Error:Field validation for '{_last(path)}' failed on the '{rule.name}' tag"
        for path, rule in failures
    )


def failed_rules(value: msgspec.Struct, path: str) -> list[Failure]:
    """The failed rules of ``value`` in the order of its fields, then those that concern several fields.

    A value whose own rule fails is not searched for further failures.
    """
    failed = _failed(value)
    return [Failure(path + suffix, rule) for suffix, rule in failed] if failed else []


_Failed = list[tuple[str, Rule]]
"""Failed rules, each with the path below the value."""


def _failed(value: msgspec.Struct) -> _Failed:
    """The failed rules of ``value``; no path is built for the others, since nearly all values have none."""
    check = STRUCT_CHECKS.get(type(value))
    across_fields = list(check(value)) if check else []
    found: _Failed = []
    for name, path_name, checks, item_checks, struct, valid_default in _checked_fields(type(value)):
        item = getattr(value, name)
        if item is valid_default:
            continue
        if checks and (rule := _violated(item, checks)) is not None:
            found.append((f".{path_name}", rule))
        elif isinstance(item, tuple):
            for index, element in enumerate(cast("tuple[Any, ...]", item)):
                if item_checks and (rule := _violated(element, item_checks)) is not None:
                    found.append((f".{path_name}[{index}]", rule))
                if struct is not None and (inner := _failed(element)):
                    found += _below(f"{path_name}[{index}]", inner)
        elif struct is not None and isinstance(item, struct) and (inner := _failed(item)):
            found += [] if path_name in dict(across_fields) else _below(path_name, inner)
    return found + _below("", across_fields) if across_fields else found


def _below(path: str, failed: _Failed) -> _Failed:
    return [(f".{path}{suffix}", rule) for suffix, rule in failed]


_Checks = tuple[tuple[Check, Rule], ...]


class _CheckedField(NamedTuple):
    """A field that has rules or nested models. Nearly all values are defaults, and ``valid_default`` needs no check."""

    name: str
    path_name: str
    checks: _Checks
    item_checks: _Checks
    struct: type[msgspec.Struct] | None
    valid_default: object


@cache
def _checked_fields(type_: type[msgspec.Struct]) -> tuple[_CheckedField, ...]:
    checked: list[_CheckedField] = []
    for field, own in zip(fields_of(type_), msgspec.structs.fields(type_), strict=True):
        if not (field.rules or field.item_rules or field.struct):
            continue
        checks, item_checks = _checks(field.rules), _checks(field.item_rules)
        valid = not own.default and _violated(own.default, checks) is None
        default = own.default if valid else msgspec.NODEFAULT
        checked.append(_CheckedField(field.name, field.path_name, checks, item_checks, field.struct, default))
    return tuple(checked)


def _checks(rules: tuple[Rule, ...]) -> _Checks:
    return tuple((CHECKS[rule.name], rule) for rule in rules)


def _violated(value: Any, checks: _Checks) -> Rule | None:
    """The first rule that the value violates."""
    for check, rule in checks:
        violated = check(value, rule.limit)
        if violated:
            # A check may return the name of a more specific rule (a clone URL that is no URL at all).
            return Rule(violated, rule.limit) if isinstance(violated, str) else rule
    return None


def _last(path: str) -> str:
    return path.rpartition(".")[2]
