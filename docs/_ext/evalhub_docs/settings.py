"""Reference of the configuration, from the descriptions on the fields of the settings Structs."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args, get_origin

import yaml

from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import ENVIRONMENT, NO_EFFECT, Key, all_keys

_NAMES = {int: "integer", float: "number", bool: "true or false", str: "text", dict: "map", tuple: "list"}


@cache
def keys() -> dict[str, list[Key]]:
    """Every key of the core and of the first-party plugins."""
    return all_keys(load_plugins(environ={"EVALHUB_LOAD_PLUGINS": ""}).sections())


def settings(section: str) -> str:
    """One part per key of a section: description, type, default, variable and example. Keys without effect are left out."""
    return "\n".join(
        _part(path, found)
        for path, found in keys().items()
        if found[0].section == section and not has_no_effect(path)
    )


def has_no_effect(path: str) -> bool:
    """Is this a key of the released server that is accepted and ignored?"""
    return any(
        path == key or (key.endswith("*") and path.startswith(key.removesuffix("*"))) for key in NO_EFFECT
    )


def no_effect(_: str) -> str:
    """The list of these keys, with reasons."""
    return "\n".join(f"* `{key}`: {reason}" for key, reason in sorted(NO_EFFECT.items()))


def variables(_: str) -> str:
    """Environment variables and the keys that they set."""
    rows = (f"| `{variable}` | `{key}` |" for variable, key in sorted(ENVIRONMENT.items()))
    return "\n".join(["| variable | key |", "|---|---|", *rows])


def _part(path: str, found: list[Key]) -> str:
    texts = list(dict.fromkeys(key.description for key in found))
    shown = next((key for key in found if key.example is not None), found[0])
    facts = [_type(shown.type)]
    defaults = list(dict.fromkeys(_scalar(key.default) for key in found if key.default is not None))
    if defaults and "Default:" not in "".join(texts):
        facts.append(f"default {' or '.join(f'`{default}`' for default in defaults)}")
    if names := [variable for variable, key in ENVIRONMENT.items() if key == path]:
        facts.append(f"variable `{names[0]}`")
    described = "\n\n".join(texts)
    return f"## `{path}`\n\n{described}\n\n*{_capital(', '.join(facts))}.*\n\n```yaml\n{_example(path, shown.example)}```\n"


def _example(path: str, value: Any) -> str:
    for name in reversed(path.split(".")):
        value = {name: value}
    return yaml.safe_dump(value, sort_keys=False)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, list) else str(value)


def _type(hint: Any) -> str:
    arms = [arm for arm in get_args(hint) or (hint,) if arm is not type(None)] if _is_union(hint) else [hint]
    names = [_NAMES.get(get_origin(arm) or arm) or "duration" for arm in arms]
    return " or ".join(dict.fromkeys(names))


def _is_union(hint: Any) -> bool:
    return any(arm is type(None) for arm in get_args(hint)) or "|" in str(hint)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
