"""JSON Schemas of the models, separate for requests and responses.

Responses contain exactly what their schemas describe, and never null. Requests may contain more: null and an empty string
are the same as an absent field. A model of both directions has two schemas, the second with the suffix ``Input``. A request
body in which unknown fields are refused has a schema of its own, without references.
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
UNKNOWN_KEYS = "*"
"""Stored name of the field with the keys that a model does not define."""
WITH_RUNTIMES = (Provider, ProviderConfig)
_ROLE = re.compile(r":\w+:`~?([^`]*)`|``([^`]*)``")


class Direction(Enum):
    """The direction of a value, with the suffix of its schema. ``STRICT_REQUEST`` refuses unknown fields."""

    RESPONSE = ""
    REQUEST = "Input"
    STRICT_REQUEST = "Strict"


class Property(NamedTuple):
    """A property of an object: its schema without null, and whether it is required (request) or always present (response)."""

    name: str
    schema: Json
    present: bool


class Schemas:
    """The component schemas of all models in requests and responses, and references to them."""

    def __init__(
        self, requests: Iterable[Any], responses: Iterable[Any], strict_requests: Iterable[Any] = ()
    ) -> None:
        responses = [*responses, Link]
        types = [*requests, *responses, *strict_requests]
        _refs, plain = msgspec.json.schema_components([*types, KnownRuntimes], ref_template=PREFIX + "{name}")
        self._plain: dict[str, Json] = _null_last(plain)
        self._structs = {type_.__name__: type_ for type_ in _reachable(types)}
        self._requests = {type_.__name__ for type_ in _reachable(requests)}
        self._responses = {type_.__name__ for type_ in _reachable(responses)}
        self._strict_requests = [type_.__name__ for type_ in strict_requests]
        self._pages = {name: type_ for type_ in responses if (name := _page_name(type_))}

    def components(self) -> Json:
        components = {
            self._name(name, Direction.REQUEST): self._model(name, Direction.REQUEST)
            for name in self._requests
        }
        components |= {name: self._model(name, Direction.RESPONSE) for name in self._responses}
        components |= {
            self._name(name, Direction.STRICT_REQUEST): self._model(name, Direction.STRICT_REQUEST)
            for name in self._strict_requests
        }
        components |= {name: self._page(type_) for name, type_ in self._pages.items()}
        components |= {name: _choice(plain) for name, plain in self._plain.items() if "enum" in plain}
        return dict(sorted(components.items()))

    def ref(self, type_: Any, direction: Direction) -> Json:
        return {"$ref": PREFIX + (_page_name(type_) or self._name(type_.__name__, direction))}

    def properties_of(self, type_: type[Struct], direction: Direction) -> Iterator[Property]:
        """The properties of a model, without null."""
        name = type_.__name__
        omits = type_.__struct_config__.omit_defaults
        for field, own in zip(fields_of(type_), msgspec.structs.fields(type_), strict=True):
            if own.encode_name == UNKNOWN_KEYS:
                continue
            given = self._plain[name]["properties"][own.encode_name]
            optional = direction is Direction.RESPONSE and not omits and _allows_null(given)
            plain = _without_fixed_length(without_null(given))
            if datetime in (own.type, *get_args(own.type)):
                plain["format"] = "date-time"
            must = own.required or forced(field.rules)
            always = not optional and (must or not (omits or own.default is UNSET))
            schema = self._typed(plain, field, direction, omits=omits)
            if type_ in WITH_RUNTIMES and own.encode_name == "runtime":
                schema = self._runtimes(direction)
            yield Property(own.encode_name, schema, always if direction is Direction.RESPONSE else must)

    def _name(self, name: str, direction: Direction) -> str:
        both = name in self._requests and name in self._responses
        return name + direction.value if direction is not Direction.REQUEST or both else name

    def _model(self, name: str, direction: Direction) -> Json:
        type_ = self._structs[name]
        members = list(self.properties_of(type_, direction))
        if (field := type_.__struct_config__.tag_field) is not None:
            tag = {"type": "string", "enum": [type_.__struct_config__.tag]}
            members.insert(0, Property(field, tag, True))
        schema: Json = {"type": "object"}
        if text := described(type_):
            schema["description"] = text
        schema["properties"] = {
            member.name: member.schema
            if member.present or direction is Direction.RESPONSE
            else nullable(member.schema)
            for member in members
        }
        if present := [member.name for member in members if member.present]:
            schema["required"] = present
        if direction is Direction.STRICT_REQUEST:
            schema["additionalProperties"] = False
        elif any(field.encode_name == UNKNOWN_KEYS for field in msgspec.structs.fields(type_)):
            schema["additionalProperties"] = {"description": "The request of the exporter with this name."}
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

    def _typed(self, plain: Json, field: Field, direction: Direction, *, omits: bool) -> Json:
        schema = self._with_direction(plain, direction)
        if field.item_rules:
            schema = schema | {"items": with_rules(schema["items"], field.item_rules)}
        elif (
            field.many
            and field.struct is not None
            and direction is not Direction.RESPONSE
            and not self._refuses_empty(field.struct)
        ):
            schema = schema | {"items": nullable(schema["items"])}
        schema = with_rules(schema, field.rules)
        if direction is Direction.RESPONSE and omits and "" in schema.get("enum", ()):
            schema = schema | {"enum": [value for value in schema["enum"] if value]}
        return schema

    def _refuses_empty(self, type_: type[Struct]) -> bool:
        """Whether the model refuses an empty object, which null in a list stands for."""
        return any(forced(field.rules) for field in fields_of(type_)) or type_ in STRUCT_KEYWORDS

    def _with_direction(self, schema: Any, direction: Direction) -> Any:
        """The schema with its references to components of ``direction``."""
        if isinstance(schema, list):
            return [self._with_direction(item, direction) for item in cast("list[Any]", schema)]
        if not isinstance(schema, dict):
            return schema
        members = cast("Json", schema)
        target = str(members.get("$ref", "")).removeprefix(PREFIX)
        if target in self._structs:
            return (
                self._model(target, direction)
                if direction is Direction.STRICT_REQUEST
                else {"$ref": PREFIX + self._name(target, direction)}
            )
        return {key: self._with_direction(value, direction) for key, value in members.items()}

    def _runtimes(self, direction: Direction) -> Json:
        """``runtime`` of a provider: the runtimes that the server knows, and any other of a plugin."""
        entries = {member.name: member.schema for member in self.properties_of(KnownRuntimes, direction)}
        further: Json = {"type": "object"}
        if direction is not Direction.RESPONSE:
            entries = {name: nullable(schema) for name, schema in entries.items()}
            further = nullable(further)
        return {"type": "object", "properties": entries, "additionalProperties": further}


def with_free_objects(schema: Any) -> Any:
    """The schema with ``additionalProperties: true`` in each object of any content, which generators else read as empty."""
    if isinstance(schema, list):
        return [with_free_objects(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = {key: with_free_objects(value) for key, value in cast("Json", schema).items()}
    kinds = members.get("type", "")
    is_object = kinds == "object" or (isinstance(kinds, list) and "object" in kinds)
    if is_object and not members.keys() & {"properties", "additionalProperties"}:
        members["additionalProperties"] = True
    return members


def described(documented: Any) -> str:
    """A docstring as Markdown, without line breaks inside paragraphs."""
    text = inspect.cleandoc(documented.__doc__ or "")
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return _ROLE.sub(lambda match: f"`{match[1] or match[2]}`", "\n\n".join(paragraphs))


def without_null(schema: Json) -> Json:
    """The schema of a value that is present: without null and without a default, which is what absence means."""
    options = [option for option in schema.get("anyOf", [schema]) if option != {"type": "null"}]
    rest = options[0] if len(options) == 1 else {"anyOf": options}
    return {key: value for key, value in rest.items() if key != "default"}


_NULL = {"type": "null"}


def _null_last(schema: Any) -> Any:
    """The schema with null after all other options: versions of msgspec order them differently."""
    if isinstance(schema, list):
        return [_null_last(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = {name: _null_last(value) for name, value in cast("dict[str, Any]", schema).items()}
    if options := members.get("anyOf"):
        members["anyOf"] = [
            *(option for option in options if option != _NULL),
            *(option for option in options if option == _NULL),
        ]
    return members


def _allows_null(schema: Json) -> bool:
    return {"type": "null"} in schema.get("anyOf", ())


def _without_fixed_length(schema: Json) -> Json:
    """The schema of a list; of a tuple whose items have one type, or are numbers, the form that client generators read."""
    items = schema.get("prefixItems")
    if not items:
        return schema
    item = items[0] if all(each == items[0] for each in items) else {"type": "number"}
    if any(each not in (item, {"type": "integer"}) for each in items):
        return schema
    kept = {key: value for key, value in schema.items() if key != "prefixItems"}
    return kept | {"items": item}


def nullable(schema: Json) -> Json:
    """The schema, or null, which is the same as absent."""
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
            struct
            for holder in holders
            for field in msgspec.structs.fields(holder)
            for struct in _structs_in(field.type)
        ]
    return found


def _structs_in(hint: Any) -> Iterator[type[Struct]]:
    """The models in a type: itself, members of a union, items of a list, values of a map."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
    for part in get_args(hint):
        yield from _structs_in(part)
