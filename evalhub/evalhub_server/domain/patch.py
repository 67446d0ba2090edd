"""What a PATCH body asks for: a list of JSON Patch operations (RFC 6902), or an object to merge (RFC 7396).

Which operation is allowed on which path is data; it holds for both forms.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.domain.resource import Kind
from evalhub_server.domain.validation import MAX_DEPTH, conform, parse
from evalhub_server.models.common import Json

MAX_OPERATIONS = 1000
OPERATIONS = ("replace", "add", "remove")


class Operation(Struct, kw_only=True, frozen=True):
    """One operation; a missing ``value`` is null."""

    op: str = ""
    path: str = ""
    value: Any = None


class Patch(Struct, kw_only=True, frozen=True):
    """An allowed patch: ``operations``, or ``members`` of an object to merge, by their names in the document."""

    operations: tuple[Operation, ...] = ()
    members: Json = {}


class Allowed(NamedTuple):
    """Operations on a member as a whole, and on what is below it."""

    whole: tuple[str, ...]
    below: tuple[str, ...] = ()


_ALL = Allowed(OPERATIONS, OPERATIONS)
_WHOLE = Allowed(OPERATIONS)
_REPLACE = Allowed(("replace",))
_REPLACE_BELOW = Allowed(("replace",), ("replace",))

ALLOWED: dict[Kind, dict[str, Allowed]] = {
    Kind.PROVIDER: {
        "name": _REPLACE,
        "title": _WHOLE,
        "description": _WHOLE,
        "tags": _ALL,
        "custom": _ALL,
        "agent": _ALL,
        "runtime": _REPLACE_BELOW,
        "benchmarks": _REPLACE_BELOW,
    },
    Kind.COLLECTION: {
        "name": _REPLACE,
        "category": _REPLACE,
        "description": _WHOLE,
        "pass_criteria": _WHOLE,
        "tags": _ALL,
        "custom": _ALL,
        "domains": _ALL,
        "tasks": _ALL,
        "modalities": _ALL,
        "industries": _ALL,
        "evaluation_targets": _ALL,
        "benchmarks": _REPLACE_BELOW,
        "pinned_order": Allowed(("add", "replace")),
    },
}


def read_patch(body: bytes, kind: Kind) -> Patch:
    """Decode the body and check each operation in turn, before the resource is looked up.

    ``[]``, ``{}`` and ``null`` change nothing. Raises ``invalid_json_request``, ``invalid_patch_operation`` and
    ``unallowed_patch``.
    """
    raw = parse(body)
    if raw is None:
        return Patch()
    if isinstance(raw, dict):
        return Patch(members=_members(cast("Json", raw), kind))
    if not isinstance(raw, list):
        raise problems.invalid_json("a patch is a list of operations, or an object to merge")
    items = cast("list[Any]", raw)
    if len(items) > MAX_OPERATIONS:
        raise problems.invalid_json(f"a patch has at most {MAX_OPERATIONS} operations")
    operations = tuple(conform(item, Operation) for item in items)
    for operation in operations:
        _check(operation, kind)
    return Patch(operations=operations)


def _check(operation: Operation, kind: Kind) -> None:
    op, path = operation.op, operation.path
    if op not in OPERATIONS:
        raise problems.invalid_patch_operation(op, OPERATIONS)
    if not path:
        raise problems.invalid_json("Invalid patch path")
    root, *parts = path.split("/", MAX_DEPTH + 1)
    allowed = ALLOWED[kind].get(parts[0]) if parts and not root else None
    if allowed is None or op not in (allowed.below if parts[1:] else allowed.whole):
        raise problems.unallowed_patch(op, path)
    if len(parts) > MAX_DEPTH:
        raise problems.invalid_json(f"a patch path has at most {MAX_DEPTH} parts")


def _members(patch: Json, kind: Kind) -> Json:
    """The members to merge: null removes one, everything else replaces it, and must be allowed to."""
    members: Json = {}
    for key, value in patch.items():
        name = key.lower()
        allowed = ALLOWED[kind].get(name)
        op = "remove" if value is None else "replace"
        if allowed is None or op not in allowed.whole:
            raise problems.unallowed_patch(op, f"/{key}")
        members[name] = value
    return members
