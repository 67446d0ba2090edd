"""Applying a patch to an object."""

from __future__ import annotations

from typing import Any

import jsonpatch

from harness.kube import problems
from harness.kube.kinds import Object

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"


def patched(thing: Object, patch: Any, content_type: str) -> Object:
    """A strategic merge is applied as a merge, which is correct for maps, the only values patched here."""
    if content_type in (MERGE, STRATEGIC):
        return merged(thing, patch)
    if content_type == JSON:
        try:
            return jsonpatch.apply_patch(thing, patch)
        except (jsonpatch.JsonPatchException, TypeError) as error:
            raise problems.bad_request(f"the patch cannot be applied: {error}") from error
    raise problems.Refused(
        415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {content_type}"
    )


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
