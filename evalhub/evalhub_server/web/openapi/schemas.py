"""The models as JSON Schema, once as the server writes them and once as it reads them.

It writes what it says and never null. It reads more: null and an empty text stand for absent. A model that goes both
ways has two schemas, the second with the ending ``Input``; a body in which every unknown field is refused has one of its
own that spells out everything below it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple, cast, get_args, get_origin

import msgspec
from msgspec import UNSET, Struct

from evalhub_server.domain.struct_fields import Field, fields_of
from evalhub_server.models.common import Json, Link, Page
from evalhub_server.models.provider import Provider, ProviderConfig
from evalhub_server.models.runtime import KnownRuntimes
from evalhub_server.web.openapi.rule_schemas import STRUCT_KEYWORDS, forced, with_rules

PREFIX = "#/components/schemas/"
WITH_RUNTIMES = (Provider, ProviderConfig)
_ROLE = re.compile(r":\w+:`~?([^`]*)`|``([^`]*)``")


class Way(Enum):
    """Which way a value goes; ``STRICT`` is read, and unknown fields are refused."""

    WRITTEN = ""
    READ = "Input"
    STRICT = "Strict"


class Typed(NamedTuple):
    """A member of an object: its schema without null, and whether it must be there (read) or always is (written)."""

    name: str
    schema: Json
    present: bool


class Schemas:
    """The components for all models that requests and answers name, and the references to them."""

    def __init__(self, read: Iterable[Any], written: Iterable[Any], strict: Iterable[Any] = ()) -> None:
        written = [*written, Link]
        types = [*read, *written, *strict]
        _refs, self._plain = msgspec.json.schema_components(
            [*types, KnownRuntimes], ref_template=PREFIX + "{name}"
        )
        self._structs = {type_.__name__: type_ for type_ in _reachable(types)}
        self._read = {type_.__name__ for type_ in _reachable(read)}
        self._written = {type_.__name__ for type_ in _reachable(written)}
        self._strict = [type_.__name__ for type_ in strict]
        self._pages = {name: type_ for type_ in written if (name := _page_name(type_))}

    def components(self) -> Json:
        made = {self._name(name, Way.READ): self._model(name, Way.READ) for name in self._read}
        made |= {name: self._model(name, Way.WRITTEN) for name in self._written}
        made |= {self._name(name, Way.STRICT): self._model(name, Way.STRICT) for name in self._strict}
        made |= {name: self._page(type_) for name, type_ in self._pages.items()}
        made |= {name: _choice(plain) for name, plain in self._plain.items() if "enum" in plain}
        return dict(sorted(made.items()))

    def ref(self, type_: Any, way: Way) -> Json:
        return {"$ref": PREFIX + (_page_name(type_) or self._name(type_.__name__, way))}

    def members(self, type_: type[Struct], way: Way) -> Iterator[Typed]:
        """The members of a model, without null."""
        name = type_.__name__
        omits = type_.__struct_config__.omit_defaults
        for field, own in zip(fields_of(type_), msgspec.structs.fields(type_), strict=True):
            plain = without_null(self._plain[name]["properties"][own.encode_name])
            if datetime in (own.type, *get_args(own.type)):
                plain["format"] = "date-time"
            must = own.required or forced(field.rules)
            always = must or not (omits or own.default is UNSET)
            schema = self._typed(plain, field, way, omits=omits)
            if type_ in WITH_RUNTIMES and own.encode_name == "runtime":
                schema = self._runtimes(way)
            yield Typed(own.encode_name, schema, always if way is Way.WRITTEN else must)

    def _name(self, name: str, way: Way) -> str:
        both = name in self._read and name in self._written
        return name + way.value if way is not Way.READ or both else name

    def _model(self, name: str, way: Way) -> Json:
        type_ = self._structs[name]
        members = list(self.members(type_, way))
        schema: Json = {"type": "object"}
        if text := described(type_):
            schema["description"] = text
        schema["properties"] = {
            member.name: member.schema if member.present or way is Way.WRITTEN else or_null(member.schema)
            for member in members
        }
        if present := [member.name for member in members if member.present]:
            schema["required"] = present
        if way is Way.STRICT:
            schema["additionalProperties"] = False
        return schema | STRUCT_KEYWORDS.get(type_, {})

    def _page(self, type_: Any) -> Json:
        plain = self._plain[f"Page_{_item(type_).__name__}_"]
        properties = {key: without_null(value) for key, value in plain["properties"].items()}
        return {
            "type": "object",
            "description": described(Page),
            "properties": properties,
            "required": plain["required"],
        }

    def _typed(self, plain: Json, field: Field, way: Way, *, omits: bool) -> Json:
        schema = self._directed(plain, way)
        if field.item_rules:
            schema = schema | {"items": with_rules(schema["items"], field.item_rules)}
        elif (
            field.many
            and field.struct is not None
            and way is not Way.WRITTEN
            and not self._needs(field.struct)
        ):
            schema = schema | {"items": or_null(schema["items"])}
        schema = with_rules(schema, field.rules)
        if way is Way.WRITTEN and omits and "" in schema.get("enum", ()):
            schema = schema | {"enum": [value for value in schema["enum"] if value]}
        return schema

    def _needs(self, type_: type[Struct]) -> bool:
        """Does the model refuse an object with nothing in it, which null in a list stands for?"""
        return any(forced(field.rules) for field in fields_of(type_)) or type_ in STRUCT_KEYWORDS

    def _directed(self, schema: Any, way: Way) -> Any:
        """The same with its references going ``way``."""
        if isinstance(schema, list):
            return [self._directed(item, way) for item in cast("list[Any]", schema)]
        if not isinstance(schema, dict):
            return schema
        members = cast("Json", schema)
        target = str(members.get("$ref", "")).removeprefix(PREFIX)
        if target in self._structs:
            return (
                self._model(target, way) if way is Way.STRICT else {"$ref": PREFIX + self._name(target, way)}
            )
        return {key: self._directed(value, way) for key, value in members.items()}

    def _runtimes(self, way: Way) -> Json:
        """``runtime`` of a provider: those that the server knows, and any that a plugin adds."""
        entries = {member.name: member.schema for member in self.members(KnownRuntimes, way)}
        further: Json = {"type": "object"}
        if way is not Way.WRITTEN:
            entries = {name: or_null(schema) for name, schema in entries.items()}
            further = or_null(further)
        return {"type": "object", "properties": entries, "additionalProperties": further}


def described(documented: Any) -> str:
    """A docstring as Markdown, without the lines' breaks inside its paragraphs."""
    text = inspect.cleandoc(documented.__doc__ or "")
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return _ROLE.sub(lambda match: f"`{match[1] or match[2]}`", "\n\n".join(paragraphs))


def without_null(schema: Json) -> Json:
    """The schema of a value that is there; defaults go, since absent is what they mean."""
    options = [option for option in schema.get("anyOf", [schema]) if option != {"type": "null"}]
    rest = options[0] if len(options) == 1 else {"anyOf": options}
    return {key: value for key, value in rest.items() if key != "default"}


def or_null(schema: Json) -> Json:
    """The same, or null, which means absent."""
    if "enum" in schema:
        return schema | {"type": [schema.get("type", "string"), "null"], "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def _choice(plain: Json) -> Json:
    return {"type": "string", **{key: value for key, value in plain.items() if key != "title"}}


def _item(type_: Any) -> Any:
    return get_args(type_)[0] if get_origin(type_) is Page else type_


def _page_name(type_: Any) -> str:
    return f"{_item(type_).__name__}Page" if get_origin(type_) is Page else ""


def _reachable(types: Iterable[Any]) -> set[type[Struct]]:
    found: set[type[Struct]] = set()
    waiting: list[type[Struct]] = [_item(type_) for type_ in types]
    while waiting:
        type_ = waiting.pop()
        if type_ in found:
            continue
        found.add(type_)
        holders = (type_, KnownRuntimes) if type_ in WITH_RUNTIMES else (type_,)
        waiting += [
            field.struct for holder in holders for field in fields_of(holder) if field.struct is not None
        ]
    return found
