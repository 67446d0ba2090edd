"""Resources of the Kubernetes API that the server uses, and their paths."""

from __future__ import annotations

from msgspec import Struct

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.names import is_object_name


class Resource(Struct, frozen=True):
    """A kind of object. ``api`` is the prefix of its path. One that is in no namespace has an empty ``namespace``."""

    api: str
    plural: str
    kind: str

    def path(self, namespace: str, name: str = "", sub: str = "") -> str:
        """Return the path of an object. Raises :class:`ApiRefusal` for an invalid name, which could lead elsewhere."""
        for given in filter(None, (namespace, name)):
            if not is_object_name(given):
                raise ApiRefusal(404, "NotFound", f"'{given}' is not a valid name of a Kubernetes object")
        parts = [self.api, "namespaces" if namespace else "", namespace, self.plural, name, sub]
        return "/" + "/".join(part for part in parts if part)


JOBS = Resource("apis/batch/v1", "jobs", "Job")
CONFIG_MAPS = Resource("api/v1", "configmaps", "ConfigMap")
SECRETS = Resource("api/v1", "secrets", "Secret")
PODS = Resource("api/v1", "pods", "Pod")
NAMESPACES = Resource("api/v1", "namespaces", "Namespace")
NODES = Resource("api/v1", "nodes", "Node")
EVENTS = Resource("api/v1", "events", "Event")
NETWORK_POLICIES = Resource("apis/networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
