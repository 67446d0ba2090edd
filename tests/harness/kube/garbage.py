"""Deletion and the garbage collector: finalizers, owner references, foreground and background."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from harness.kube.kinds import (
    PODS,
    Object,
    finalizers_of,
    kind_of,
    name_of,
    namespace_of,
    owners_of,
    terminating,
    uid_of,
)
from harness.kube.store import Store, now

FOREGROUND = "foregroundDeletion"


def delete(store: Store, thing: Object, policy: str) -> Object | None:
    """Delete an object by ``Foreground``, ``Background`` or ``Orphan``.

    Returns it as it is now if something still holds it: a finalizer, its dependents, or a kubelet.
    """
    if policy == "Orphan":
        for dependent in store.dependents(uid_of(thing)):
            kept = copy.deepcopy(dependent)
            owners = [owner for owner in owners_of(kept) if owner["uid"] != uid_of(thing)]
            kept["metadata"]["ownerReferences"] = owners
            store.put(kept)
    marked = copy.deepcopy(thing)
    finalizers = finalizers_of(marked)
    if policy == "Foreground" and FOREGROUND not in finalizers:
        finalizers.append(FOREGROUND)
    runs = kind_of(thing) is PODS and bool(thing["spec"].get("nodeName")) and not finished(thing)
    if not finalizers and not runs:
        store.remove(thing)
        return None
    if not terminating(marked):
        grace_s = thing["spec"].get("terminationGracePeriodSeconds", 30) if runs else 0
        marked["metadata"]["deletionTimestamp"] = now(grace_s)
        marked["metadata"]["deletionGracePeriodSeconds"] = grace_s
    marked["metadata"]["finalizers"] = finalizers
    return marked if marked == thing else store.put(marked)


def finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def release(store: Store, thing: Object, finalizer: str) -> None:
    """Take a finalizer away, and with it an object that only waited for that."""
    current = store.find(kind_of(thing), namespace_of(thing), name_of(thing))
    if current is None or finalizer not in finalizers_of(current):
        return
    left = copy.deepcopy(current)
    left["metadata"]["finalizers"] = [name for name in finalizers_of(current) if name != finalizer]
    if terminating(left) and not left["metadata"]["finalizers"]:
        delete(store, left, "Background")
    else:
        store.put(left)


def collect(store: Store, changed: Iterable[Object]) -> None:
    """Do what the collector does after these changes; what it changes itself is passed to it again by the caller."""
    for thing in changed:
        owners = (store.by_uid(owner["uid"]) for owner in owners_of(thing))
        for affected in (thing, *store.dependents(uid_of(thing)), *owners):
            if affected is not None:
                _collect(store, affected)


def _collect(store: Store, thing: Object) -> None:
    current = store.by_uid(uid_of(thing))
    if current is None:
        return
    owners = owners_of(current)
    gone = owners and all(store.by_uid(owner["uid"]) is None for owner in owners)
    if gone and not terminating(current):
        delete(store, current, "Background")
    elif FOREGROUND in finalizers_of(current):
        _foreground(store, current)


def _foreground(store: Store, thing: Object) -> None:
    blocking = False
    for dependent in store.dependents(uid_of(thing)):
        if not terminating(dependent):
            delete(store, dependent, "Background")
        still = store.find(kind_of(dependent), namespace_of(dependent), name_of(dependent))
        reference = next(owner for owner in owners_of(dependent) if owner["uid"] == uid_of(thing))
        blocking = blocking or (still is not None and bool(reference.get("blockOwnerDeletion")))
    if not blocking:
        release(store, thing, FOREGROUND)
