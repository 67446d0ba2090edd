"""From the bytes of a request to a value that keeps the contract's rules.

:func:`decode` is as lenient as the contract: unknown fields are ignored, keys match in any case, null is absent.
:func:`validate` walks the rules that the models declare beside their types and reports every failure at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from evalhub_server.domain import problems
from evalhub_server.domain.value_rules import CHECKS, SHORT_TEXTS, STRUCT_CHECKS
from evalhub_server.models.job import BenchmarkRef
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
    if not body.strip():
        raise problems.invalid_json("unexpected end of JSON input")
    if _too_deep(body):
        raise problems.invalid_json(f"the document is nested deeper than {MAX_DEPTH} levels")
    try:
        if not _CAPITAL_KEY.search(body):
            try:
                return msgspec.json.decode(body, type=type_)
            except msgspec.ValidationError:
                pass  # perhaps only a null, which the lenient path takes as absent
        raw = msgspec.json.decode(body)
        return msgspec.convert({} if raw is None else _normalise(raw, type_), type_)
    except msgspec.MsgspecError as error:
        truncated = "truncated" in str(error)
        raise problems.invalid_json("unexpected end of JSON input" if truncated else str(error)) from None
    except UnicodeDecodeError as error:
        raise problems.invalid_json(str(error)) from None


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


def convert(raw: Any, type_: type[T]) -> T:
    """Like :func:`decode`, for a value that is already parsed (YAML). Raises :class:`msgspec.ValidationError`."""
    return msgspec.convert(_normalise(raw, type_), type_)


def validate(value: msgspec.Struct, name: str) -> None:
    """Raise ``request_validation_failed`` (400) unless ``value`` keeps all rules; ``name`` heads the paths."""
    failures = list(failed_rules(value, name))
    if failures:
        raise problems.validation_failed(describe(failures))


def describe(failures: list[Failure]) -> str:
    """The contract's text for failed rules: one line each, or the short text of the first if it has one."""
    first = failures[0]
    short = SHORT_TEXTS.get(first.rule.name)
    if short is not None:
        return short(_last(first.path), first.rule.limit)
    return "\n".join(
        f"Key: '{path}' Error:Field validation for '{_last(path)}' failed on the '{rule.name}' tag"
        for path, rule in failures
    )


def failed_rules(value: msgspec.Struct, path: str) -> Iterator[Failure]:
    """Yield every failed rule below ``value``, in the order of the fields; rules between fields come last."""
    for field in _checked_fields(type(value)):
        item = getattr(value, field.name)
        where = f"{path}.{field.path_name}"
        if (rule := _broken(item, field.rules)) is not None:
            yield Failure(where, rule)
        if isinstance(item, msgspec.Struct):
            yield from failed_rules(item, where)
        elif isinstance(item, tuple):
            for index, element in enumerate(cast("tuple[Any, ...]", item)):
                here = f"{where}[{index}]"
                if (rule := _broken(element, field.item_rules)) is not None:
                    yield Failure(here, rule)
                if isinstance(element, msgspec.Struct):
                    yield from failed_rules(element, here)
    check = STRUCT_CHECKS.get(type(value))
    for suffix, rule in check(value) if check else ():
        yield Failure(f"{path}.{suffix}" if suffix else path, rule)


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


class _Field(NamedTuple):
    name: str
    path_name: str
    rules: tuple[Rule, ...]
    item_rules: tuple[Rule, ...]
    struct: type[msgspec.Struct] | None
    many: bool


@cache
def _fields(type_: type[msgspec.Struct]) -> tuple[_Field, ...]:
    hints = get_type_hints(type_, include_extras=True)
    fields: list[_Field] = []
    for field in msgspec.structs.fields(type_):
        rules, bare = _peel(hints[field.name])
        item = next((get_args(part)[0] for part in _union(bare) if get_origin(part) is tuple), None)
        item_rules, item_bare = _peel(item)
        struct = next((part for part in (*_union(bare), item_bare) if _is_struct(part)), None)
        # The released server embeds a "Ref" in the benchmarks of jobs and collections, and its texts show it.
        path_name = "Ref.id" if type_ is BenchmarkRef and field.name == "id" else field.encode_name
        fields.append(_Field(field.name, path_name, rules, item_rules, struct, item is not None))
    return tuple(fields)


@cache
def _checked_fields(type_: type[msgspec.Struct]) -> tuple[_Field, ...]:
    """Those that have rules, or something below them that may; each event comes through here."""
    return tuple(field for field in _fields(type_) if field.rules or field.item_rules or field.struct)


def _peel(hint: Any) -> tuple[tuple[Rule, ...], Any]:
    if get_origin(hint) is Annotated:
        bare, *marks = get_args(hint)
        return tuple(mark for mark in marks if isinstance(mark, Rule)), bare
    return (), hint


def _union(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) not in (tuple, dict, None) else (hint,)


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _normalise(raw: Any, type_: type[Any]) -> Any:
    """Spell the keys as the fields are spelled, drop nulls and unknown keys; free-form objects stay untouched."""
    if not isinstance(raw, dict) or not _is_struct(type_):
        return cast("Any", raw)  # convert() names the wrong type
    by_key = _by_key(type_)
    normal: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", raw).items():
        field = by_key.get(key) or by_key.get(str(key).lower())
        if field is None or value is None:
            continue
        if field.struct is None:
            normal[field.name] = value
        elif field.many and isinstance(value, list):
            items = cast("list[Any]", value)
            normal[field.name] = [_normalise({} if item is None else item, field.struct) for item in items]
        else:
            normal[field.name] = _normalise(value, field.struct)
    return normal


@cache
def _by_key(type_: type[msgspec.Struct]) -> dict[str, _Field]:
    return {field.name.lower(): field for field in _fields(type_)}
