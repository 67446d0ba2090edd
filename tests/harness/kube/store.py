"""All objects of the fake cluster, with one global resource version and the history that watches read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from harness.kube import problems
from harness.kube.kinds import Kind, Object, kind_of, name_of, namespace_of, uid_of


class Change(NamedTuple):
    """``type`` is ADDED, MODIFIED or DELETED."""

    version: int
    kind: Kind
    type: str
    object: Object


Listener = Callable[[Change], None]


def now(later_s: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=later_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """Lives on one thread. What goes in is copied; what comes out must not be changed."""

    def __init__(self) -> None:
        self.version = 1000
        self.history: list[Change] = []
        self.compacted = 0
        """The oldest version from which a watch can still start."""
        self._objects: dict[tuple[Kind, str, str], Object] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for every change from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self._objects.get((kind, namespace, name))

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self.find(kind, namespace, name)
        if found is None:
            raise problems.not_found(kind, name)
        return found

    def all(self, kind: Kind | None = None, namespace: str = "") -> Iterator[Object]:
        """In the order of their names, as etcd has them."""
        for key in sorted(self._objects, key=lambda key: (key[0].plural, key[1], key[2])):
            if (kind is None or key[0] == kind) and (not namespace or key[1] == namespace):
                yield self._objects[key]

    def by_uid(self, uid: str) -> Object | None:
        return next((thing for thing in self._objects.values() if uid_of(thing) == uid), None)

    def put(self, thing: Object) -> Object:
        """Store a new object or a new state of one."""
        thing = copy.deepcopy(thing)
        kind = kind_of(thing)
        key = kind, namespace_of(thing), name_of(thing)
        type_ = "MODIFIED" if key in self._objects else "ADDED"
        self._objects[key] = thing
        self._note(kind, type_, thing)
        return thing

    def remove(self, thing: Object) -> None:
        kind = kind_of(thing)
        key = kind, namespace_of(thing), name_of(thing)
        if self._objects.pop(key, None) is not None:
            self._note(kind, "DELETED", copy.deepcopy(thing))

    def compact(self) -> None:
        """Forget the history: watches from before now are refused as too old."""
        self.history.clear()
        self.compacted = self.version

    def _note(self, kind: Kind, type_: str, thing: Object) -> None:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        change = Change(self.version, kind, type_, thing)
        self.history.append(change)
        for listener in list(self._listeners):
            listener(change)
