"""From the bytes of a request to a value that keeps the contract's rules.

:func:`decode` is as lenient as the contract: unknown fields are ignored, keys match in any case, null is absent.
:func:`validate` walks the rules that the models declare beside their types and reports every failure at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from evalhub_server.domain import problems
from evalhub_server.domain.struct_fields import checked_fields_of, normalised
from evalhub_server.domain.value_rules import CHECKS, SHORT_TEXTS, STRUCT_CHECKS
from evalhub_server.errors import ApiError
from evalhub_server.models.rules import Rule

T = TypeVar("T")

# A key with a capital letter may be another spelling of a field; only then is the slower path needed.
# Possessive, because backtracking over a long text in capitals would take quadratic time.
_CAPITAL_KEY = re.compile(rb'"[^"\\A-Z]*+[A-Z][^"\\]*+"\s*+:')

MAX_DEPTH = 200
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class Failure(NamedTuple):
    """One rule that a value at ``path`` does not keep."""

    path: str
    rule: Rule


def decode(body: bytes, type_: type[T]) -> T:
    """Decode a JSON request. Raises ``invalid_json_request`` (400) for malformed JSON and for wrong types."""
    if not _CAPITAL_KEY.search(body) and body.strip() and not _too_deep(body):
        try:
            return msgspec.json.decode(body, type=type_)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass  # perhaps only a null, which the lenient path takes as absent; if not, it says what is wrong
    return conform(parse(body), type_)


def parse(body: bytes) -> Any:
    """The JSON value of a request. Raises ``invalid_json_request`` (400) for what is malformed or too deep."""
    if not body.strip():
        raise problems.invalid_json("unexpected end of JSON input")
    if _too_deep(body):
        raise problems.invalid_json(f"the document is nested deeper than {MAX_DEPTH} levels")
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _invalid(error) from None


def conform(raw: Any, type_: type[T]) -> T:
    """Read a parsed request as leniently as :func:`decode`. Raises ``invalid_json_request`` for wrong types."""
    try:
        return convert({} if raw is None else raw, type_)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: Exception) -> ApiError:
    truncated = "truncated" in str(error)
    return problems.invalid_json("unexpected end of JSON input" if truncated else str(error))


def _too_deep(body: bytes) -> bool:
    """Is it nested deeper than :data:`MAX_DEPTH`?

    Far below Python's recursion limit: what one stack depth could decode, another could later fail to encode, and
    a stored job that cannot be encoded would break every list that it is in.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
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
    """Cut off what follows the object or the null that a body begins with; other bodies come back whole."""
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
    """Like :func:`decode`, for a value that is already parsed (YAML). Raises :class:`msgspec.ValidationError`."""
    return msgspec.convert(normalised(raw, type_), type_)


def validate(value: msgspec.Struct, name: str) -> None:
    """Raise ``request_validation_failed`` (400) unless ``value`` keeps all rules; ``name`` heads the paths."""
    failures = list(failed_rules(value, name))
    if failures:
        raise problems.validation_failed(describe(failures))


def describe(failures: list[Failure]) -> str:
    """The contract's text for failed rules: one line each, or the short text of the first if it has one."""
    failures = sorted(failures, key=lambda failure: failure.rule.added)
    first = failures[0]
    short = SHORT_TEXTS.get(first.rule.name)
    if short is not None:
        return short(_last(first.path), first.rule.limit)
    return "\n".join(
        f"Key: '{path}' Error:Field validation for '{_last(path)}' failed on the '{rule.name}' tag"
        for path, rule in failures
    )


def failed_rules(value: msgspec.Struct, path: str) -> Iterator[Failure]:
    """Yield every failed rule below ``value``, in the order of the fields; rules between fields come last.

    What is below a field that fails itself is not looked at.
    """
    check = STRUCT_CHECKS.get(type(value))
    between = list(check(value)) if check else []
    refused = {suffix for suffix, _ in between}
    for field in checked_fields_of(type(value)):
        item = getattr(value, field.name)
        where = f"{path}.{field.path_name}"
        if (rule := _broken(item, field.rules)) is not None:
            yield Failure(where, rule)
        elif isinstance(item, msgspec.Struct):
            if field.path_name not in refused:
                yield from failed_rules(item, where)
        elif isinstance(item, tuple):
            for index, element in enumerate(cast("tuple[Any, ...]", item)):
                here = f"{where}[{index}]"
                if (rule := _broken(element, field.item_rules)) is not None:
                    yield Failure(here, rule)
                if isinstance(element, msgspec.Struct):
                    yield from failed_rules(element, here)
    for suffix, rule in between:
        yield Failure(f"{path}.{suffix}", rule)


def _broken(value: Any, rules: tuple[Rule, ...]) -> Rule | None:
    """The first of the rules that the value does not keep."""
    for rule in rules:
        broken = CHECKS[rule.name](value, rule.limit)
        if broken:
            # A check may name a finer rule than its own (a clone URL that is no URL at all).
            return Rule(broken, rule.limit) if isinstance(broken, str) else rule
    return None


def _last(path: str) -> str:
    return path.rpartition(".")[2]
