"""JSON Schemas of PATCH bodies, in both forms; :data:`~evalhub_server.domain.json_patch.ALLOWED` has the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from evalhub_server.domain.json_patch import ALLOWED, MAX_OPERATIONS, OPERATIONS
from evalhub_server.domain.resource import Kind
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.common import Json
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.web.openapi.rule_schemas import validating

if TYPE_CHECKING:
    from evalhub_server.web.openapi.schemas import Schemas

_CONFIGS: dict[Kind, type[Struct]] = {Kind.PROVIDER: ProviderConfig, Kind.COLLECTION: CollectionConfig}
_PATCH_ONLY: dict[Kind, Json] = {
    Kind.PROVIDER: {},
    Kind.COLLECTION: {"pinned_order": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}},
}
"""Members that only a patch can set."""


def patch_schema(kind: Kind) -> Callable[[Schemas], Json]:
    """The schema of a JSON Patch or of an object to merge."""

    def make(schemas: Schemas) -> Json:
        from evalhub_server.web.openapi.schemas import Direction

        members = {
            member.name: member.schema for member in schemas.properties_of(_CONFIGS[kind], Direction.REQUEST)
        }
        members |= _PATCH_ONLY[kind]
        operations = {
            "type": "array",
            "maxItems": MAX_OPERATIONS,
            "items": {
                "type": "object",
                "properties": {
                    "op": {"type": "string", "enum": [*OPERATIONS]},
                    "path": {"type": "string"},
                    "value": {},
                },
                "required": ["op", "path"],
                **validating("object", anyOf=[*_operations(kind, members)]),
            },
        }
        return {
            "anyOf": [
                {"title": "JSON Patch", **operations},
                {"title": "an object to merge", **_merged(kind, members)},
                {"title": "nothing to change", "type": "null"},
            ]
        }

    return make


def _operations(kind: Kind, members: Json) -> Iterator[Json]:
    for name, allowed in ALLOWED[kind].items():
        setting = [op for op in allowed.whole if op != "remove"]
        yield _operation({"enum": setting}, {"enum": [f"/{name}"]}, members[name])
    removable = [f"/{name}" for name, allowed in ALLOWED[kind].items() if "remove" in allowed.whole]
    yield _operation({"enum": ["remove"]}, {"enum": removable})
    for ops in dict.fromkeys(allowed.below for allowed in ALLOWED[kind].values() if allowed.below):
        names = [name for name, allowed in ALLOWED[kind].items() if allowed.below == ops]
        yield _operation({"enum": [*ops]}, {"pattern": f"^/({'|'.join(names)})/"})


def _operation(op: Json, path: Json, value: Json | None = None) -> Json:
    """The schema of one operation. Without ``value`` any value is allowed: the patched resource is validated."""
    text: Json = {"type": "string"}
    properties = {"op": text | op, "path": text | path} | ({} if value is None else {"value": value})
    return {"type": "object", "properties": properties, "required": [*properties]}


def _merged(kind: Kind, members: Json) -> Json:
    from evalhub_server.web.openapi.schemas import nullable

    properties = {
        name: nullable(members[name]) if "remove" in allowed.whole else members[name]
        for name, allowed in ALLOWED[kind].items()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}
