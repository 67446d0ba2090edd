"""Namespaces and nodes, as far as the server may read them: few installations grant these rights of the whole cluster."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import NAMESPACES, NODES
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.object_status import Condition, Metadata
from evalhub_server.plugins import RuntimeUnavailable

BINDINGS = "deploy/tenant has the bindings; the operator creates them in namespaces with the label evalhub.trustyai.opendatahub.io/tenant"


class _Status(Struct, frozen=True):
    conditions: list[Condition] | None = None


class _Object(Struct, frozen=True):
    metadata: Metadata = Metadata()
    status: _Status = _Status()


async def namespace_is_gone(api: KubernetesApi, name: str) -> bool | None:
    """Whether a namespace does not exist or is being deleted; None if that cannot be read."""
    try:
        found = await api.find(NAMESPACES, "", name, tries=1)
    except (ApiRefusal, RuntimeUnavailable):
        return None
    return found is None or bool(msgspec.convert(found, _Object).metadata.deletion_timestamp)


async def node_is_lost(api: KubernetesApi, name: str) -> bool:
    """Whether a node does not exist or is not ready. False if that cannot be read."""
    try:
        found = await api.find(NODES, "", name, tries=1)
    except (ApiRefusal, RuntimeUnavailable):
        return False
    if found is None:
        return True
    conditions = msgspec.convert(found, _Object).status.conditions or []
    return any(condition.type == "Ready" and condition.status != "True" for condition in conditions)


def refusal_in_namespace(error: ApiRefusal, namespace: str) -> str:
    """What the API refused, as a clause, with the remedy if the namespace or the server's rights in it are missing."""
    if error.without_namespace:
        return f"the namespace '{namespace}' does not exist. Create it and bind the server's role in it ({BINDINGS})"
    if error.namespace_terminating:
        return f"the namespace '{namespace}' is being deleted"
    if error.without_right:
        return (
            f"{error}. Either the namespace '{namespace}' does not exist, or no RoleBinding in it gives the server its "
            f"role ({BINDINGS})"
        )
    return str(error)
