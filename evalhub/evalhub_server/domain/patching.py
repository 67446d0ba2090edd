"""A patch applied to the document that a GET shows, and the result read like the body of a PUT."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

import jsonpatch
import msgspec
from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.configs import read_collection, read_provider
from evalhub_server.domain.derived import Offered
from evalhub_server.domain.lifecycle import check_changeable, replace_collection, replace_provider
from evalhub_server.domain.patch import Operation, Patch
from evalhub_server.domain.providers import spelled_path, spelled_runtime
from evalhub_server.domain.resource import CollectionRecord, ProviderRecord
from evalhub_server.domain.resource_view import collection_resource, provider_resource
from evalhub_server.models.common import Int64, Json

DEFAULT_LIMIT_BYTES = 10 * 1024 * 1024
"""The default limit of request bodies: a document that could not be put is not patched together either."""

_ERRORS = (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, LookupError, TypeError, ValueError)


def patch_provider(
    record: ProviderRecord, patch: Patch, now: datetime, limit_bytes: int = DEFAULT_LIMIT_BYTES
) -> ProviderRecord:
    """Apply a patch from :func:`~evalhub_server.domain.patch.read_patch`; ``limit_bytes`` -1 means any size.

    Raises ``invalid_json_request`` if it cannot be applied or leads to wrong types, ``request_validation_failed``
    if it leads to a document that breaks a rule, then ``read_only_provider``.
    """
    document = _patched(provider_resource(record), patch)
    return replace_provider(record, read_provider(_bytes(document, limit_bytes)), now)


def patch_collection(
    record: CollectionRecord,
    patch: Patch,
    available: Offered,
    now: datetime,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> CollectionRecord:
    """Apply a patch to a collection. ``available`` are the benchmarks that the caller can see.

    Raises ``read_only_collection``, then the same as :func:`patch_provider`.
    """
    check_changeable(record)
    document = _patched(collection_resource(record, available), patch)
    pinned_order = _pinned_order(document.pop("pinned_order", None))
    config = read_collection(_bytes(document, limit_bytes))
    return replace(replace_collection(record, config, available, now), pinned_order=pinned_order)


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
    """A copy that can be changed, of JSON's own types."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _apply(document: Json, operation: Operation) -> None:
    """Apply one operation in place. Like the released server's, ``replace`` adds a member that is not there."""
    op, path = operation.op, operation.path
    try:
        path = _spelled(path)
        parent, key = jsonpatch.JsonPointer(path).to_last(document)
        if op == "replace" and isinstance(parent, dict) and key not in parent:
            op = "add"
        # The patch may be applied again, to a newer record: its values are not shared with the document.
        change = {"op": op, "path": path, "value": _plain(operation.value)}
        jsonpatch.apply_patch(document, [change], in_place=True)
    except _ERRORS as error:
        raise problems.invalid_json(f"{op} {operation.path}: {error}") from None


def _spelled(path: str) -> str:
    """Released servers show ``/runtime/k8s/Image``, we show ``/runtime/k8s/image``; both are taken."""
    root, member, *keys = path.split("/")
    return "/".join((root, member, *spelled_path(keys))) if member == "runtime" and keys else path


def _merge_operations(document: Json, members: Json) -> Iterator[Operation]:
    """The operations that are equivalent to a merge, each on a member as a whole."""
    for name, value in members.items():
        if value is not None:
            patch = spelled_runtime(cast("Json", value)) if _is_runtime(name, value) else value
            yield Operation(op="replace", path=f"/{name}", value=_merged(document.get(name), patch))
        elif name in document:
            yield Operation(op="remove", path=f"/{name}")


def _is_runtime(name: str, value: Any) -> bool:
    return name == "runtime" and isinstance(value, dict)


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null removes, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged: Json = dict(cast("Json", target)) if isinstance(target, dict) else {}
    for key, value in cast("Json", patch).items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
