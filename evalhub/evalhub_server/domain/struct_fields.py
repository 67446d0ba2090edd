"""Introspection of the models: their fields with validation rules, and case-insensitive matching of keys to fields."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, NamedTuple, cast, get_args, get_origin, get_type_hints

import msgspec

from evalhub_server.models.job import BenchmarkRef
from evalhub_server.models.rules import Rule


class Field(NamedTuple):
    """A field of a model.

    ``path_name`` is its name in validation messages. ``struct`` is the model of its value or, if ``many``, of each item.
    """

    name: str
    path_name: str
    rules: tuple[Rule, ...]
    item_rules: tuple[Rule, ...]
    struct: type[msgspec.Struct] | None
    many: bool


@cache
def fields_of(type_: type[msgspec.Struct]) -> tuple[Field, ...]:
    hints = get_type_hints(type_, include_extras=True)
    fields: list[Field] = []
    for field in msgspec.structs.fields(type_):
        rules, bare = _peel(hints[field.name])
        item = next((get_args(part)[0] for part in _union(bare) if get_origin(part) is tuple), None)
        item_rules, item_bare = _peel(item)
        struct = next((part for part in (*_union(bare), item_bare) if is_struct(part)), None)
        # In the released server the id is a field of an embedded "Ref", which its messages show.
        path_name = "Ref.id" if type_ is BenchmarkRef and field.name == "id" else field.encode_name
        fields.append(Field(field.name, path_name, rules, item_rules, struct, item is not None))
    return tuple(fields)


def is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def normalize_keys(raw: Any, type_: type[Any]) -> Any:
    """Rename keys to their fields' names and drop nulls and unknown keys; free-form objects are left unchanged."""
    if not isinstance(raw, dict) or not is_struct(type_):
        return cast("Any", raw)  # convert() reports the wrong type
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
            normal[field.name] = [
                normalize_keys({} if item is None else item, field.struct) for item in items
            ]
        else:
            normal[field.name] = normalize_keys(value, field.struct)
    return normal


def unknown_key(raw: Any, type_: type[msgspec.Struct]) -> str | None:
    """The first key, at any depth, that matches no field of ``type_`` in any case; free-form objects accept all keys."""
    if not isinstance(raw, dict):
        return None
    by_key = _by_key(type_)
    for key, value in cast("dict[str, Any]", raw).items():
        field = by_key.get(key.lower())
        if field is None:
            return key
        if field.struct is None:
            continue
        items = cast("list[Any]", value) if field.many and isinstance(value, list) else [value]
        for item in items:
            if (unknown := unknown_key(item, field.struct)) is not None:
                return unknown
    return None


def _peel(hint: Any) -> tuple[tuple[Rule, ...], Any]:
    if get_origin(hint) is Annotated:
        bare, *metadata = get_args(hint)
        return tuple(item for item in metadata if isinstance(item, Rule)), bare
    return (), hint


def _union(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) not in (tuple, dict, None) else (hint,)


@cache
def _by_key(type_: type[msgspec.Struct]) -> dict[str, Field]:
    return {field.name.lower(): field for field in fields_of(type_)}
