"""Creating, reading and changing objects as the API server does, without HTTP."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

from harness.kube import garbage, patches, problems
from harness.kube.checks import check
from harness.kube.defaults import with_defaults
from harness.kube.kinds import (
    JOBS,
    NAMESPACES,
    Kind,
    Object,
    finalizers_of,
    name_of,
    namespace_of,
    terminating,
    uid_of,
)
from harness.kube.selectors import field_test, label_test
from harness.kube.store import Store


class Resources:
    """One method for each verb. Each raises :class:`Refused`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lagging: tuple[Kind, list[Object]] | None = None

    def lag(self, kind: Kind | None) -> None:
        """Let lists of this kind with ``resourceVersion=0`` return what is there now, whatever happens later."""
        self._lagging = None if kind is None else (kind, list(self._store.all(kind)))

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return self._store.get(kind, namespace, name)

    def create(self, kind: Kind, namespace: str, body: Any, *, dry_run: bool = False) -> Object:
        thing = self._body(kind, namespace, body)
        if kind.namespaced:
            home = self._store.find(NAMESPACES, "", namespace)
            if home is None:
                raise problems.not_found(NAMESPACES, namespace)
            if terminating(home):
                raise problems.terminating(kind, thing["metadata"].get("name", ""), namespace)
        if "resourceVersion" in thing["metadata"]:
            raise problems.bad_request("resourceVersion should not be set on objects to be created")
        made = with_defaults(kind, thing)
        check(kind, made)
        if self._store.find(kind, namespace, name_of(made)) is not None:
            raise problems.already_exists(kind, name_of(made))
        return made if dry_run else self._store.put(made)

    def update(self, kind: Kind, namespace: str, name: str, body: Any, *, dry_run: bool = False) -> Object:
        thing = self._body(kind, namespace, body)
        if thing["metadata"].get("name") != name:
            raise problems.bad_request("the name of the object does not match the name on the URL")
        return self._replace(kind, self._store.get(kind, namespace, name), thing, dry_run=dry_run)

    def patch(
        self, kind: Kind, namespace: str, name: str, patch: Any, content_type: str, *, dry_run: bool = False
    ) -> Object:
        current = self._store.get(kind, namespace, name)
        changed = patches.patched(copy.deepcopy(current), patch, content_type)
        if patch and "resourceVersion" not in str(patch):
            changed["metadata"].pop("resourceVersion", None)
        return self._replace(kind, current, changed, dry_run=dry_run)

    def delete(self, kind: Kind, namespace: str, name: str, options: Any, *, dry_run: bool = False) -> Object:
        """Returns the object if something still holds it, else a ``Status``."""
        thing = self._store.get(kind, namespace, name)
        options = options or {}
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != uid_of(thing):
            why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid_of(thing)}"
            raise problems.conflict(kind, name, why)
        # Jobs of batch/v1 leave their pods behind unless the request selects otherwise, for compatibility with old clients.
        policy = options.get("propagationPolicy") or ("Orphan" if kind is JOBS else "Background")
        if policy not in ("Foreground", "Background", "Orphan"):
            raise problems.bad_request(f"invalid propagationPolicy {policy!r}")
        left = thing if dry_run else garbage.delete(self._store, thing, policy)
        details = {"name": name, "group": kind.group, "kind": kind.plural, "uid": uid_of(thing)}
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return left or done

    def list(self, kind: Kind, namespace: str, query: dict[str, str]) -> Object:
        labels, fields = (
            label_test(query.get("labelSelector", "")),
            field_test(query.get("fieldSelector", "")),
        )
        cached = query.get("resourceVersion") == "0"
        there = self._store.all(kind, namespace)
        if cached and self._lagging is not None and self._lagging[0] is kind:
            there = (thing for thing in self._lagging[1] if namespace_of(thing) == namespace)
        found = [thing for thing in there if labels(thing) and fields(thing)]
        metadata: dict[str, Any] = {"resourceVersion": str(self._store.version)}
        limit = 0 if cached else int(query.get("limit") or 0)
        start = self._start(query.get("continue", ""))
        page = found[start : start + limit] if limit else found[start:]
        if limit and start + limit < len(found):
            token = {"start": start + limit, "version": self._store.version}
            metadata["continue"] = base64.urlsafe_b64encode(json.dumps(token).encode()).decode()
            metadata["remainingItemCount"] = len(found) - start - limit
        # Items of a list carry neither apiVersion nor kind.
        items = [
            {key: value for key, value in thing.items() if key not in ("apiVersion", "kind")}
            for thing in page
        ]
        return {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": metadata,
            "items": items,
        }

    def _start(self, token: str) -> int:
        if not token:
            return 0
        try:
            position = json.loads(base64.urlsafe_b64decode(token))
        except ValueError as error:
            raise problems.bad_request("continue key is not valid") from error
        if position["version"] < self._store.compacted:
            raise problems.expired(
                "The provided continue parameter is too old to display a consistent list result."
            )
        return position["start"]

    def _body(self, kind: Kind, namespace: str, body: Any) -> Object:
        if not isinstance(body, dict):
            raise problems.bad_request("the body of the request is not an object")
        thing = copy.deepcopy(body)
        given = thing.setdefault("apiVersion", kind.api_version), thing.setdefault("kind", kind.kind)
        if given != (kind.api_version, kind.kind):
            raise problems.bad_request(
                f"{given} in version {kind.version} cannot be handled as a {kind.kind}"
            )
        metadata = thing.setdefault("metadata", {})
        if kind.namespaced and metadata.setdefault("namespace", namespace) != namespace:
            raise problems.bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request"
                f" ({metadata['namespace']}, {namespace})"
            )
        return thing

    def _replace(self, kind: Kind, current: Object, thing: Object, *, dry_run: bool) -> Object:
        name, old, new = name_of(current), current["metadata"], thing["metadata"]
        if new.get("resourceVersion") and new["resourceVersion"] != old["resourceVersion"]:
            raise problems.conflict(kind, name)
        if new.get("uid") and new["uid"] != old["uid"]:
            raise problems.conflict(
                kind, name, "the UID in the precondition does not match the UID in record"
            )
        for field in (
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
        ):
            new.pop(field, None)
            if field in old:
                new[field] = old[field]
        if kind is JOBS:
            _immutable(kind, name, current, thing)
            thing["status"] = current.get("status") or {}
        check(kind, thing)
        if dry_run:
            return thing
        new["resourceVersion"] = old["resourceVersion"]
        if thing == current:
            return current
        stored = self._store.put(thing)
        if terminating(stored) and not finalizers_of(stored):
            garbage.delete(self._store, stored, "Background")
        return stored


def _immutable(kind: Kind, name: str, current: Object, thing: Object) -> None:
    changed = [
        ("FieldValueInvalid", f"spec.{field}", "Invalid value: field is immutable")
        for field in ("template", "selector", "completions", "completionMode")
        if thing["spec"].get(field) != current["spec"].get(field)
    ]
    if changed:
        raise problems.invalid(kind, name, changed)
