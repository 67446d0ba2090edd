"""All objects of the fake cluster, with one global resource version and the history that watches read."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from harness.kube import problems
from harness.kube.kinds import KINDS, Kind, Object, kind_of, name_of, namespace_of, owners_of, uid_of


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
        self._objects: dict[Kind, defaultdict[str, dict[str, Object]]] = {
            kind: defaultdict(dict) for kind in KINDS
        }
        """By kind, namespace and name."""
        self._by_uid: dict[str, Object] = {}
        self._dependents: defaultdict[str, dict[str, Object]] = defaultdict(dict)
        """By the uid of their owner, then by their own."""
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for every change from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self._objects[kind][namespace].get(name)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self.find(kind, namespace, name)
        if found is None:
            raise problems.not_found(kind, name)
        return found

    def all(self, kind: Kind | None = None, namespace: str = "") -> Iterator[Object]:
        """In the order of their names, as etcd has them."""
        for each in (kind,) if kind else sorted(KINDS, key=lambda kind: kind.plural):
            spaces = self._objects[each]
            for space in (namespace,) if namespace else sorted(spaces):
                things = spaces[space]
                for name in sorted(things):
                    if (thing := things.get(name)) is not None:
                        yield thing

    def by_uid(self, uid: str) -> Object | None:
        return self._by_uid.get(uid)

    def dependents(self, uid: str) -> list[Object]:
        """The objects that this one owns."""
        return list(self._dependents.get(uid, {}).values())

    def put(self, thing: Object) -> Object:
        """Store a new object or a new state of one."""
        thing = copy.deepcopy(thing)
        kind = kind_of(thing)
        things = self._objects[kind][namespace_of(thing)]
        old = things.get(name_of(thing))
        if old is not None:
            self._unlink(old)
        things[name_of(thing)] = thing
        if uid := thing["metadata"].get("uid"):
            self._by_uid[uid] = thing
        for owner in owners_of(thing):
            self._dependents[owner["uid"]][uid_of(thing)] = thing
        self._note(kind, "MODIFIED" if old is not None else "ADDED", thing)
        return thing

    def remove(self, thing: Object) -> None:
        kind = kind_of(thing)
        old = self._objects[kind][namespace_of(thing)].pop(name_of(thing), None)
        if old is not None:
            self._unlink(old)
            self._note(kind, "DELETED", copy.deepcopy(thing))

    def _unlink(self, thing: Object) -> None:
        self._by_uid.pop(thing["metadata"].get("uid", ""), None)
        for owner in owners_of(thing):
            owned = self._dependents[owner["uid"]]
            owned.pop(uid_of(thing), None)
            if not owned:
                del self._dependents[owner["uid"]]

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
