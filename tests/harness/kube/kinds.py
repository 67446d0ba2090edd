"""The kinds of objects that the fake cluster knows."""

from __future__ import annotations

from typing import Any, NamedTuple

Object = dict[str, Any]
"""A Kubernetes object as JSON. One that is in the store is never changed in place."""


class Kind(NamedTuple):
    """``plural`` is the resource in paths; ``kind`` the name in objects."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Kind("", "v1", "nodes", "Node", namespaced=False)
CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
SECRETS = Kind("", "v1", "secrets", "Secret")
PODS = Kind("", "v1", "pods", "Pod")
EVENTS = Kind("", "v1", "events", "Event")
JOBS = Kind("batch", "v1", "jobs", "Job")
NETWORK_POLICIES = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
HARDWARE_PROFILES = Kind("infrastructure.opendatahub.io", "v1", "hardwareprofiles", "HardwareProfile")

KINDS = (NAMESPACES, NODES, CONFIG_MAPS, SECRETS, PODS, EVENTS, JOBS, NETWORK_POLICIES, HARDWARE_PROFILES)
BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
BY_TYPE = {(kind.api_version, kind.kind): kind for kind in KINDS}


def name_of(thing: Object) -> str:
    return thing["metadata"]["name"]


def namespace_of(thing: Object) -> str:
    return thing["metadata"].get("namespace", "")


def uid_of(thing: Object) -> str:
    return thing["metadata"]["uid"]


def labels_of(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("labels") or {}


def finalizers_of(thing: Object) -> list[str]:
    return list(thing["metadata"].get("finalizers") or [])


def owners_of(thing: Object) -> list[dict[str, Any]]:
    return thing["metadata"].get("ownerReferences") or []


def terminating(thing: Object) -> bool:
    return "deletionTimestamp" in thing["metadata"]


def kind_of(thing: Object) -> Kind:
    return BY_TYPE[thing["apiVersion"], thing["kind"]]
