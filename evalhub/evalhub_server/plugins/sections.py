"""Conversion of a configuration section to the settings Struct of a plugin or of the server.

As lenient as the released server: keys match in any case, null means absent, and a scalar may have another type if the
meaning is clear (``"9125"`` for a number, 42 for a text, ``"a, b"`` for a list). User-defined maps are kept as they are.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

import msgspec

from evalhub_common.durations import Duration, Timespan
from evalhub_server.domain.scalars import number, scalar_text, truth
from evalhub_server.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)

_ADVICE = {
    "`int`": "write a whole number",
    "`float`": "write a number",
    "`bool`": "write true or false",
    "`object`": "write keys and values below it",
    "`array`": "write a list",
    "`str`": "write a text",
}


def convert_section(section: Any, type_: type[T], path: str, *, strict: bool = True) -> T:
    """Convert parsed YAML at ``path`` (such as ``local``) to ``type_``. ``strict``: refuse unknown keys.

    Raises:
        SettingsError: a value or a key is wrong; the text has the key path, the problem and, for an unknown key, the most
            similar known one.
    """
    value: Any = {} if section is None else section
    if strict:
        for key_path, hint in unknown_keys(value, type_, path):
            raise SettingsError(f"{key_path}: unknown key{hint}")
    try:
        return msgspec.convert(_normal(value, type_, path), type_, strict=False, dec_hook=_decode_hook)
    except msgspec.ValidationError as error:
        raise SettingsError(readable(str(error), path)) from None


def section_errors(section: Any, type_: type[msgspec.Struct], path: str) -> list[SettingsError]:
    """Return the errors of all keys of a section, where :func:`convert_section` raises the first."""
    errors: list[SettingsError] = []
    items = cast("dict[Any, Any]", section).items() if isinstance(section, dict) else ()
    for one in [{key: item} for key, item in items]:
        try:
            convert_section(one, type_, path, strict=False)
        except SettingsError as error:
            errors.append(error)
    if not errors:
        try:
            convert_section(section, type_, path, strict=False)
        except SettingsError as error:
            errors.append(error)
    return errors


def find_section(sections: Mapping[str, Any], name: str) -> Any:
    """Return the section with the name, in any case, or None."""
    if name in sections:
        return sections[name]
    return next((value for key, value in sections.items() if str(key).lower() == name.lower()), None)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown word: the most similar known one, or all."""
    names = list(known)
    near = difflib.get_close_matches(word.lower(), names, n=1)
    return f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(names)})"


def unknown_keys(value: Any, type_: type[msgspec.Struct], path: str) -> Iterator[tuple[str, str]]:
    """Yield (key path, hint) for each key below ``value`` that is not a field of ``type_``, also in lists."""
    if not isinstance(value, dict):
        return
    structs = _structs(type_)
    for key, item in cast("dict[Any, Any]", value).items():
        # Paths are built only where they are needed: a catalogue has many keys.
        found = structs.get(key) or structs.get(str(key).lower())
        if found is None:
            known = (field.encode_name for field in _fields(type_).values())
            yield _below(path, key), nearest(str(key), known)
            continue
        struct, struct_of_items = found
        if struct is not None:
            yield from unknown_keys(item, struct, _below(path, key))
        elif struct_of_items is not None and isinstance(item, list):
            for index, element in enumerate(cast("list[Any]", item)):
                yield from unknown_keys(element, struct_of_items, f"{_below(path, key)}[{index}]")


def _below(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


@cache
def _structs(
    type_: type[msgspec.Struct],
) -> dict[str, tuple[type[msgspec.Struct] | None, type[msgspec.Struct] | None]]:
    """The Struct of each field, and that of its items, by the field's name in lower case."""
    return {name: (struct_in(field.type), _item_struct(field.type)) for name, field in _fields(type_).items()}


def _item_struct(hint: Any) -> type[msgspec.Struct] | None:
    """Return the Struct of the items of a list type, or None."""
    for arm in _arms(hint):
        if get_origin(arm) in (tuple, list) and get_args(arm):
            return struct_in(get_args(arm)[0])
    return None


@cache
def _fields(type_: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    # Cached: msgspec evaluates the annotations, which hold the descriptions, at each call.
    return {field.encode_name.lower(): field for field in msgspec.structs.fields(type_)}


def _arms(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def struct_in(hint: Any) -> type[msgspec.Struct] | None:
    """Return the Struct of a type hint: the type itself, or a member of the union."""
    return next(
        (arm for arm in _arms(hint) if isinstance(arm, type) and issubclass(arm, msgspec.Struct)), None
    )


def _normal(value: Any, hint: Any, path: str) -> Any:
    """Return the value with keys as in ``hint``, without nulls, and with scalars of the expected types."""
    struct = struct_in(hint)
    if isinstance(value, dict):
        fields = cast("dict[Any, Any]", value)
        return fields if struct is None else _normal_map(fields, struct, path)
    arms = _arms(hint)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        hints = [get_args(arm)[0] for arm in arms if get_origin(arm) in (tuple, list) and get_args(arm)]
        if not hints:
            return items
        return [_normal(item, hints[0], f"{path}[{index}]") for index, item in enumerate(items)]
    if isinstance(value, str) and any(get_origin(arm) in (tuple, list) for arm in arms) and str not in arms:
        return [word for word in (part.strip() for part in value.split(",")) if word]
    if isinstance(value, str) and str not in arms:
        return _from_text(value, arms)
    if isinstance(value, bool | int | float) and str in arms and type(value) not in arms:
        return scalar_text(value)
    return value


def _from_text(text: str, arms: tuple[Any, ...]) -> Any:
    """The boolean or number that a text stands for where one is expected, or the text."""
    value = None
    if bool in arms:
        value = truth(text)
    elif any(_arms(arm)[0] in (int, float) for arm in arms):
        value = number(text)
    return text if value is None else value


def _normal_map(items: dict[Any, Any], struct: type[msgspec.Struct], path: str) -> dict[str, Any]:
    fields = _fields(struct)
    normal: dict[str, Any] = {}
    spelled: dict[str, Any] = {}
    for key, item in items.items():
        field = fields.get(str(key).lower())
        if field is None or item is None:
            continue
        name = field.encode_name
        key_path = f"{path}.{name}" if path else name
        if name in normal:
            raise SettingsError(
                f"{key_path}: given twice, as {spelled[name]!r} and {key!r}; keep one of them"
            )
        normal[name] = _normal(item, field.type, key_path)
        spelled[name] = key
    return normal


def _decode_hook(type_: type[Any], value: Any) -> Any:
    if issubclass(type_, Duration):
        return type_.parse(value)
    raise NotImplementedError(type_)


def readable(error: str, path: str) -> str:
    """Return an error of msgspec (``… - at $.a.b``) as ``path.a.b: …``, with advice on what to write."""
    text, _, location = error.partition(" - at `$")
    below = location.rstrip("`")
    text = f"{text[0].lower()}{text[1:]}".replace(" | null`", "`")  # null means absent
    expected = text.removeprefix("expected ").partition(",")[0].partition(" | ")[0]
    text += f"; {_ADVICE[expected]}" if expected in _ADVICE else ""
    return f"{path}{below}: {text}" if path else f"{below.lstrip('.')}: {text}"


__all__ = [
    "Duration",
    "Timespan",
    "convert_section",
    "find_section",
    "nearest",
    "readable",
    "section_errors",
    "struct_in",
    "unknown_keys",
]
