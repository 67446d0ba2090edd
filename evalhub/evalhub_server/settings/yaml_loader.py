"""YAML loader that resolves scalars as Go's yaml.v3 does, on top of PyYAML's C loader where it is installed."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, ClassVar, cast

import yaml

from evalhub_server.domain.scalars import number, timestamp

_PREFIX = "tag:yaml.org,2002:"
_NUMBER = "tag:eval-hub,2026:number-or-text"
"""Tag of plain scalars that begin like a number; their constructor decides."""
_PLAIN_TAGS = ("seq", "map", "merge", "set", "omap", "pairs")
"""Standard tags whose values are text, lists and maps: a set is a map of nulls."""

# The C loader is five times as fast, and not always installed.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlLoader(_Base):
    """YAML 1.2 with yaml.v3's additions. Tags of applications are ignored, and dates become text in RFC 3339."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}


def _resolver(tag: str, pattern: str, first: str) -> None:
    for character in first or [""]:
        YamlLoader.yaml_implicit_resolvers.setdefault(character, []).append((tag, re.compile(pattern)))


_resolver(f"{_PREFIX}bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF")
_resolver(f"{_PREFIX}null", r"(?:~|null|Null|NULL)\Z", "~nN")
_resolver(f"{_PREFIX}null", r"\Z", "")
_resolver(f"{_PREFIX}merge", r"<<\Z", "<")
_resolver(_NUMBER, "", "+-.0123456789")


def _text(_loader: Any, node: yaml.ScalarNode) -> str:
    return cast("str", node.value)


def _number_or_text(_loader: Any, node: yaml.ScalarNode) -> int | float | str:
    text: str = node.value
    if (time := timestamp(text)) is not None:
        return time
    value = number(text)
    return text if value is None else value


def _tagged(node: yaml.ScalarNode, value: Any) -> Any:
    """``value``, or the error that a scalar does not have the type of its explicit tag."""
    if value is None:
        raise yaml.constructor.ConstructorError(
            None, None, f"cannot decode '{node.value}' as !!{node.tag.removeprefix(_PREFIX)}", node.start_mark
        )
    return value


def _bool(_loader: Any, node: yaml.ScalarNode) -> bool:
    words = {"true": True, "false": False}
    known = node.value in ("true", "True", "TRUE", "false", "False", "FALSE")
    return cast("bool", _tagged(node, words[node.value.lower()] if known else None))


def _int(_loader: Any, node: yaml.ScalarNode) -> int:
    value = number(node.value)
    return cast("int", _tagged(node, value if isinstance(value, int) else None))


def _float(_loader: Any, node: yaml.ScalarNode) -> float:
    value = number(node.value)
    return float(_tagged(node, value))


def _timestamp(_loader: Any, node: yaml.ScalarNode) -> str:
    return cast("str", _tagged(node, timestamp(node.value)))


def _binary(_loader: Any, node: yaml.ScalarNode) -> str:
    try:
        data = base64.b64decode("".join(node.value.split()), validate=True)
    except (binascii.Error, ValueError):
        return cast("str", _tagged(node, None))
    return data.decode("utf-8", "replace")


def _by_kind(loader: Any, node: yaml.Node) -> Any:
    """The value of a node with an application's tag, which is ignored."""
    if node.tag.startswith(_PREFIX) and node.tag.removeprefix(_PREFIX) not in _PLAIN_TAGS:
        raise yaml.constructor.ConstructorError(
            None, None, f"could not determine a constructor for the tag '{node.tag}'", node.start_mark
        )
    if isinstance(node, yaml.MappingNode):
        return loader.construct_yaml_map(node)
    return loader.construct_yaml_seq(node) if isinstance(node, yaml.SequenceNode) else node.value


def _nothing(_loader: Any, _node: yaml.Node) -> None:
    return None


YamlLoader.yaml_constructors |= {
    f"{_PREFIX}bool": _bool,
    f"{_PREFIX}null": _nothing,
    f"{_PREFIX}int": _int,
    f"{_PREFIX}float": _float,
    f"{_PREFIX}timestamp": _timestamp,
    f"{_PREFIX}binary": _binary,
    f"{_PREFIX}str": _text,
    _NUMBER: _number_or_text,
    None: _by_kind,
}
