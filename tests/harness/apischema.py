"""Validation of objects with the Kubernetes API's schema, as the generated client has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kubernetes_asyncio import client

_CONTAINER = re.compile(r"(list|dict)[\[(](?:str, )?(.+)[\])]")
_SCALARS = {"str": str, "int": int, "bool": bool, "float": (int, float), "datetime": str}

_MODELS = {
    ("v1", "ConfigMap"): "V1ConfigMap",
    ("v1", "Namespace"): "V1Namespace",
    ("v1", "PersistentVolumeClaim"): "V1PersistentVolumeClaim",
    ("v1", "Secret"): "V1Secret",
    ("v1", "Service"): "V1Service",
    ("v1", "ServiceAccount"): "V1ServiceAccount",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("batch/v1", "Job"): "V1Job",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): "V1ClusterRole",
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): "V1ClusterRoleBinding",
    ("rbac.authorization.k8s.io/v1", "Role"): "V1Role",
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): "V1RoleBinding",
}


def schema_problems(obj: dict[str, Any]) -> list[str]:
    """Unknown fields, wrong types and missing fields of ``obj``, which the API would refuse or silently drop."""
    model = _MODELS.get((obj.get("apiVersion", ""), obj.get("kind", "")))
    if model is None:
        return [f"no such kind: {obj.get('apiVersion')} {obj.get('kind')}"]
    return list(_check(obj, model, obj["kind"]))


def _check(value: Any, type_: str, path: str) -> Iterator[str]:
    if type_ == "object":
        return
    if type_ in _SCALARS:
        if not isinstance(value, _SCALARS[type_]) or (isinstance(value, bool) and type_ != "bool"):
            yield f"{path}: {value!r} is no {type_}"
        return
    if match := _CONTAINER.fullmatch(type_):
        yield from _check_container(value, match[1], match[2], path)
        return
    yield from _check_model(value, type_, path)


def _check_container(value: Any, kind: str, item: str, path: str) -> Iterator[str]:
    if not isinstance(value, list if kind == "list" else dict):
        yield f"{path}: {value!r} is no {kind}"
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _check(element, item, f"{path}[{index}]")
    else:
        for key, element in value.items():
            if not isinstance(key, str):
                yield f"{path}: the key {key!r} is no text"
            yield from _check(element, item, f"{path}.{key}")


def _check_model(value: Any, type_: str, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no {type_}"
        return
    model: Any = getattr(client, type_)
    fields = {json_name: name for name, json_name in model.attribute_map.items()}
    for key, element in value.items():
        if key not in fields:
            yield f"{path}.{key}: unknown to {type_}"
        else:
            yield from _check(element, model.openapi_types[fields[key]], f"{path}.{key}")
    try:
        model(**{fields[key]: element for key, element in value.items() if key in fields})
    except ValueError as error:  # a required field, or a value that is not one of those allowed
        yield f"{path}: {error}"


def job_problems(job: dict[str, Any]) -> list[str]:
    """Violations of the API's rules beyond the types of fields."""
    pod = job["spec"]["template"]["spec"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    names = [container["name"] for container in containers]
    found = [f"{name} is there twice" for name in (*volumes, *names) if (volumes + names).count(name) > 1]
    for container in containers:
        mounts = container["volumeMounts"]
        paths = [mount["mountPath"] for mount in mounts]
        found += [f"{container['name']} mounts {path} twice" for path in paths if paths.count(path) > 1]
        unknown = {mount["name"] for mount in mounts} - set(volumes)
        found += [f"{container['name']} mounts {name}, which is no volume" for name in unknown]
        variables = [variable["name"] for variable in container.get("env", [])]
        found += [f"{name} is set twice" for name in variables if variables.count(name) > 1]
        context = container["securityContext"]
        if not (
            context["allowPrivilegeEscalation"] is False
            and context["runAsNonRoot"] is True
            and context["capabilities"] == {"drop": ["ALL"]}
            and context["seccompProfile"] == {"type": "RuntimeDefault"}
        ):
            found.append(f"{container['name']} is not restricted")
    mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
    found += [f"no container mounts {name}" for name in set(volumes) - mounted]
    return found
