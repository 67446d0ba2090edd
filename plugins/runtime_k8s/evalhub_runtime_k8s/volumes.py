"""Volumes of the pod and their mounts."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from evalhub_runtime_k8s import paths
from evalhub_runtime_k8s.credential_refs import FOR_ADAPTERS
from evalhub_server.plugins import Json

TOKEN_LIFETIME_S = 3600


class Mount(Struct, frozen=True):
    """A mount of a container and the pod volume that it needs."""

    volume: Json
    path: str
    read_only: bool = True
    sub_path: str = ""

    def plain(self) -> Json:
        mount: Json = {"mountPath": self.path, "name": self.volume["name"]}
        if self.read_only:
            mount["readOnly"] = True
        if self.sub_path:
            mount["subPath"] = self.sub_path
        return mount


def unique_volumes(mounts: Iterable[Mount]) -> list[Json]:
    """Return the volumes of all mounts; of several with one name, the first."""
    volumes: dict[str, Json] = {}
    for mount in mounts:
        volumes.setdefault(mount.volume["name"], mount.volume)
    return list(volumes.values())


def config_map(name: str, config_map_name: str) -> Json:
    return {"name": name, "configMap": {"name": config_map_name}}


def secret(name: str, secret_name: str) -> Json:
    return {"name": name, "secret": {"secretName": secret_name}}


def empty(name: str, size_limit: str = "") -> Json:
    return {"name": name, "emptyDir": {"sizeLimit": size_limit} if size_limit else {}}


def claim(name: str, claim_name: str) -> Json:
    return {"name": name, "persistentVolumeClaim": {"claimName": claim_name, "readOnly": True}}


def token(name: str) -> Json:
    """A projected service account token with the cluster's default audience, renewed by the kubelet."""
    source = {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}}
    return {"name": name, "projected": {"sources": [source]}}


def pod_namespace() -> Json:
    """The namespace file at its usual path, without the token that other pods have there."""
    item = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
    return {"name": "pod-namespace", "projected": {"sources": [{"downwardAPI": {"items": [item]}}]}}


def model_references(reference_secret: str, secret_ref: str) -> Json:
    """Credential references, and the keys whose values adapters get unchanged."""
    items = [{"key": key, "path": key} for key in FOR_ADAPTERS]
    sources: list[Json] = [{"secret": {"name": reference_secret}}] if reference_secret else []
    sources.append({"secret": {"name": secret_ref, "items": items, "optional": True}})
    return {"name": "model-auth-internal", "projected": {"sources": sources}}


def service_ca(config_map_name: str) -> Mount:
    return Mount(config_map("evalhub-service-ca", config_map_name), paths.SERVICE_CA)


def mlflow_ca(config_map_name: str) -> Mount:
    return Mount(config_map("mlflow-ca-bundle", config_map_name), paths.MLFLOW_CA)


def docker_config(connection: str) -> Mount:
    return Mount(secret("oci-credentials", connection), paths.DOCKER_CONFIG, sub_path=".dockerconfigjson")
