"""YAML loader that resolves scalars as Go's yaml.v3 does, on top of PyYAML's C loader where it is installed."""

from __future__ import annotations

import base64
import binascii
import re
from math import isfinite
from typing import Any, ClassVar, cast

import yaml

from evalhub_server.domain.scalars import number, timestamp

_PREFIX = "tag:yaml.org,2002:"
STR, MAP, SEQ = f"{_PREFIX}str", f"{_PREFIX}map", f"{_PREFIX}seq"
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

    # The composer calls these for every node. There are no resolvers by path, which PyYAML's own methods look for.

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            if implicit[0]:
                for tag, pattern in self.yaml_implicit_resolvers.get(value[:1], ()):
                    if pattern.match(value):
                        return tag
            return STR
        return MAP if kind is yaml.MappingNode else SEQ

    def descend_resolver(self, current_node: yaml.Node | None, current_index: Any) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass


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


class NotPlain(Exception):
    """A document needs the full constructor, or its checks."""


class PlainDocument:
    """Constructs a document of lists, maps with different texts as keys, and plain scalars, from the events of a parser.

    The constructor of PyYAML and the checks of a file need a pass each, a multiple of the time, and a tree of nodes that is
    several times as large as the document. Nearly all files are plain. ``max_values`` counts values with aliases expanded.
    """

    _SCALARS: ClassVar[dict[str, Any]] = {
        f"{_PREFIX}bool": _bool,
        f"{_PREFIX}null": _nothing,
        _NUMBER: _number_or_text,
    }

    def __init__(self, loader: Any, max_values: int) -> None:
        self._next = loader.get_event
        self._resolve = loader.resolve
        self._left = max_values
        self._anchored: dict[str, tuple[Any, int] | None] = {}
        """Value and size of each node with an anchor; None while it is under construction."""

    def value(self) -> Any:
        """The value of the only document. Raises :class:`NotPlain` for anything else, most wrong documents included, and YAML's errors."""
        self._next()  # the start of the stream
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._value(self._next())
        self._next()  # the end of the document
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise NotPlain
        return value

    def _value(self, event: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise NotPlain
        if isinstance(event, yaml.AliasEvent):
            known = self._anchored.get(event.anchor or "")
            if known is None:
                raise NotPlain  # it contains itself, or there is no such anchor
            self._left -= known[1]
            return known[0]
        if event.anchor is not None:
            if event.anchor in self._anchored:
                raise NotPlain
            self._anchored[event.anchor] = None
        before = self._left
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif event.tag is not None:
            raise NotPlain
        else:
            value = self._map() if isinstance(event, yaml.MappingStartEvent) else self._list()
        if event.anchor is not None:
            self._anchored[event.anchor] = value, before - self._left
        return value

    def _tag(self, event: yaml.ScalarEvent) -> str:
        if event.tag is not None:
            raise NotPlain
        return cast("str", self._resolve(yaml.ScalarNode, event.value, event.implicit))

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = self._tag(event)
        if tag == STR:
            return event.value
        construct = self._SCALARS.get(tag)
        if construct is None:
            raise NotPlain
        value = construct(None, event)
        if value.__class__ is float and not isfinite(value):
            raise NotPlain
        return value

    def _map(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent) or key.anchor is not None or self._tag(key) != STR:
                raise NotPlain
            if key.value in found:
                raise NotPlain
            found[key.value] = self._value(self._next())
        return found

    def _list(self) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self._value(event))
        return found


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
