"""Access rights of the fake cluster: the allowed verbs of each resource."""

from __future__ import annotations

from collections.abc import Mapping

from harness.kube import problems
from harness.kube.kinds import Kind

USER = "system:serviceaccount:evalhub:evalhub-service"

Rights = Mapping[tuple[str, str], frozenset[str]]
"""(group, resource or resource/subresource) → verbs, in every namespace that binds them. Namespaces and nodes are read cluster-wide."""


def _verbs(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATOR: Rights = {
    ("batch", "jobs"): _verbs("create delete get list patch"),
    ("", "configmaps"): _verbs("create get update delete list"),
    ("", "secrets"): _verbs("get list create update delete"),
    ("", "pods"): _verbs("get list"),
    ("", "pods/log"): _verbs("get"),
    ("", "events"): _verbs("create patch"),
    ("infrastructure.opendatahub.io", "hardwareprofiles"): _verbs("get list"),
}
"""What the operator's roles give the server in the namespaces of tenants."""

WITH_WATCH: Rights = {
    **OPERATOR,
    ("batch", "jobs"): OPERATOR["batch", "jobs"] | {"watch"},
    ("", "pods"): OPERATOR["", "pods"] | {"watch"},
}
"""The same with watches, as an installation without the operator may have it."""

WITH_CLUSTER: Rights = {**OPERATOR, ("", "namespaces"): _verbs("get"), ("", "nodes"): _verbs("get")}
"""The same with the cluster-wide right to read namespaces and nodes."""


def require(rights: Rights, verb: str, kind: Kind, subresource: str, namespace: str, name: str) -> None:
    """Raises :class:`Refused` 403."""
    resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
    if (namespace or not kind.namespaced) and verb in rights.get((kind.group, resource), frozenset()):
        return
    where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    text = f'User "{USER}" cannot {verb} resource "{resource}" in API group "{kind.group}"{where}'
    raise problems.forbidden(kind, name, text)
