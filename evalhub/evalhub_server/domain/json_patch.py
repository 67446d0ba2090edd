"""PATCH of providers and collections: JSON Patch (RFC 6902) and merge patch (RFC 7396).

:data:`ALLOWED` lists the permitted operations per path, for both forms. A patch is applied to the document that a GET
returns; the result is validated like the body of a PUT.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.provider_normalization import normalize_runtime_keys, normalize_runtime_path
from evalhub_server.domain.resource import CollectionRecord, Kind, ProviderRecord
from evalhub_server.domain.resource_requests import read_collection, read_provider
from evalhub_server.domain.resource_transitions import check_changeable, replace_collection, replace_provider
from evalhub_server.domain.resource_view import collection_resource, provider_resource
from evalhub_server.domain.taxonomy import VisibleBenchmarks
from evalhub_server.domain.validation import MAX_DEPTH, conform, parse
from evalhub_server.models.common import Int64, Json

DEFAULT_LIMIT_BYTES = 10 * 1024 * 1024
"""Default limit of a patched document: that of request bodies, so that PATCH creates nothing that PUT would refuse."""

MAX_OPERATIONS = 1000
OPERATIONS = ("replace", "add", "remove")


class Operation(Struct, kw_only=True, frozen=True):
    """One JSON Patch operation; a missing ``value`` is null."""

    op: str = ""
    path: str = ""
    value: Any = None


class Patch(Struct, kw_only=True, frozen=True):
    """A patch whose operations are all permitted: either ``operations`` or the ``members`` of a merge patch."""

    operations: tuple[Operation, ...] = ()
    members: Json = {}

    @property
    def replaces_benchmarks(self) -> bool:
        """Whether it may change which benchmarks a provider or collection has."""
        return "benchmarks" in self.members or any(
            operation.path.startswith("/benchmarks") for operation in self.operations
        )


class Allowed(NamedTuple):
    """The operations permitted on a member itself and on paths below it."""

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
    """Decode a body and check each operation in turn, before the resource is read.

    ``[]``, ``{}`` and ``null`` change nothing. Raises ``invalid_json_request``, ``invalid_patch_operation`` and
    ``unallowed_patch``.
    """
    raw = parse(body)
    if raw is None:
        return Patch()
    if isinstance(raw, dict):
        return Patch(members=_members(cast("Json", raw), kind))
    if not isinstance(raw, list):
        raise problems.invalid_json("a patch is a list of operations or an object to merge")
    items = cast("list[Any]", raw)
    if len(items) > MAX_OPERATIONS:
        raise problems.invalid_json(f"a patch has at most {MAX_OPERATIONS} operations")
    operations = tuple(conform(item, Operation) for item in items)
    for operation in operations:
        _check_operation(operation, kind)
    return Patch(operations=operations)


def _check_operation(operation: Operation, kind: Kind) -> None:
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
    """The members of a merge patch by lower-case name; null counts as remove, any other value as replace."""
    members: Json = {}
    for key, value in patch.items():
        name = key.lower()
        allowed = ALLOWED[kind].get(name)
        op = "remove" if value is None else "replace"
        if allowed is None or op not in allowed.whole:
            raise problems.unallowed_patch(op, f"/{key}")
        members[name] = value
    return members


def patch_provider(
    record: ProviderRecord, patch: Patch, now: datetime, limit_bytes: int = DEFAULT_LIMIT_BYTES
) -> ProviderRecord:
    """Apply a patch from :func:`read_patch` to a provider; ``limit_bytes`` -1 means no limit.

    Raises, in this order: ``invalid_json_request`` if the patch cannot be applied or leads to wrong types,
    ``request_validation_failed`` if the result breaks a rule, ``read_only_provider``.
    """
    document = _patched(provider_resource(record), patch)
    return replace_provider(record, read_provider(_bytes(document, limit_bytes)), now)


def patch_collection(
    record: CollectionRecord,
    patch: Patch,
    visible: VisibleBenchmarks,
    now: datetime,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> CollectionRecord:
    """Apply a patch from :func:`read_patch` to a collection; ``visible`` are the benchmarks that the client can see.

    Raises ``read_only_collection`` first, then as :func:`patch_provider`.
    """
    check_changeable(record)
    document = _patched(collection_resource(record, visible), patch)
    pinned_order = _pinned_order(document.pop("pinned_order", None))
    config = read_collection(_bytes(document, limit_bytes))
    return replace(replace_collection(record, config, visible, now), pinned_order=pinned_order)


def _pinned_order(value: Any) -> int:
    try:
        order = msgspec.convert(0 if value is None else value, Int64)
    except msgspec.ValidationError as error:
        raise problems.invalid_json(f"{error} - at `$.pinned_order`") from None
    if order < 0:
        raise problems.validation_failed("pinned_order must be 0 or positive")
    return order


def _bytes(document: Json, limit_bytes: int) -> bytes:
    body = msgspec.json.encode(document)
    if 0 <= limit_bytes < len(body):
        raise problems.invalid_json(f"the patched document would be larger than {limit_bytes} bytes")
    return body


def _patched(resource: msgspec.Struct, patch: Patch) -> Json:
    document = _plain(resource)
    for operation in (*patch.operations, *_merge_operations(document, patch.members)):
        _apply(document, operation)
    return document


def _plain(value: Any) -> Any:
    """A mutable copy, made of JSON types only."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _apply(document: Json, operation: Operation) -> None:
    """Apply one operation in place. As in the released server, ``replace`` adds a missing member."""
    import jsonpatch  # few servers patch anything

    op, path = operation.op, operation.path
    try:
        path = _normalized(path)
        parent, key = jsonpatch.JsonPointer(path).to_last(document)
        if op == "replace" and isinstance(parent, dict) and key not in parent:
            op = "add"
        # A patch can be applied more than once (to a newer record): the document gets a copy of its values.
        change = {"op": op, "path": path, "value": _plain(operation.value)}
        jsonpatch.apply_patch(document, [change], in_place=True)
    except (
        jsonpatch.JsonPatchException,
        jsonpatch.JsonPointerException,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise problems.invalid_json(f"{op} {operation.path}: {error}") from None


def _normalized(path: str) -> str:
    """Accept ``/runtime/k8s/Image``, as released servers spell it, for ``/runtime/k8s/image``."""
    root, member, *keys = path.split("/")
    return "/".join((root, member, *normalize_runtime_path(keys))) if member == "runtime" and keys else path


def _merge_operations(document: Json, members: Json) -> Iterator[Operation]:
    """The JSON Patch operations equivalent to a merge patch, one for each member."""
    for name, value in members.items():
        if value is not None:
            patch = normalize_runtime_keys(cast("Json", value)) if _is_runtime(name, value) else value
            yield Operation(op="replace", path=f"/{name}", value=_merged(document.get(name), patch))
        elif name in document:
            yield Operation(op="remove", path=f"/{name}")


def _is_runtime(name: str, value: Any) -> bool:
    return name == "runtime" and isinstance(value, dict)


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null removes, any other value replaces."""
    if not isinstance(patch, dict):
        return patch
    merged: Json = dict(cast("Json", target)) if isinstance(target, dict) else {}
    for key, value in cast("Json", patch).items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
