"""What the API server refuses as invalid: the part of its rules that this project's objects can break."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from harness.kube import problems
from harness.kube.kinds import CONFIG_MAPS, JOBS, SECRETS, Kind, Object, labels_of, owners_of

Cause = tuple[str, str, str]
"""(reason, field, message)"""

LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
QUANTITY = re.compile(r"[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
MOST_BYTES = 1 << 20


def check(kind: Kind, thing: Object) -> None:
    """Raises :class:`Refused`: 422 with its causes, or 403 for an owner reference that needs more rights."""
    name = thing["metadata"].get("name", "")
    causes = [*_metadata(kind, thing)]
    if kind is JOBS:
        causes += _job(thing)
    elif kind in (CONFIG_MAPS, SECRETS) and _size(thing) > MOST_BYTES:
        causes.append(("FieldValueTooLong", "data", f"Too long: may not be more than {MOST_BYTES} bytes"))
    if causes:
        raise problems.invalid(kind, name, causes)
    if any(owner.get("blockOwnerDeletion") for owner in owners_of(thing)):
        # OwnerReferencesPermissionEnforcement: needs "update" on the finalizers of Jobs.
        text = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
        raise problems.forbidden(kind, name, text)


def _metadata(kind: Kind, thing: Object) -> Iterator[Cause]:
    metadata = thing["metadata"]
    name = metadata.get("name", "")
    if not name:
        yield "FieldValueRequired", "metadata.name", "Required value: name or generateName is required"
    elif len(name) > 253 or not SUBDOMAIN.fullmatch(name):
        yield "FieldValueInvalid", "metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 subdomain'
    for key, value in labels_of(thing).items():
        if not isinstance(value, str) or not LABEL.fullmatch(value):
            yield "FieldValueInvalid", "metadata.labels", f'Invalid value: "{value}": of label {key}'
    for key, value in (metadata.get("annotations") or {}).items():
        if not isinstance(value, str):
            yield "FieldValueInvalid", f"metadata.annotations.{key}", "Invalid value: must be a string"


def _job(job: Object) -> Iterator[Cause]:
    if len(job["metadata"].get("name", "")) > 63:
        yield "FieldValueTooLong", "metadata.name", "Too long: may not be more than 63 bytes"
    template = job["spec"].get("template") or {}
    spec = template.get("spec") or {}
    at = "spec.template.spec"
    if spec.get("restartPolicy") not in ("Never", "OnFailure"):
        yield "FieldValueNotSupported", f"{at}.restartPolicy", 'supported values: "OnFailure", "Never"'
    for key, value in ((template.get("metadata") or {}).get("labels") or {}).items():
        if not isinstance(value, str) or not LABEL.fullmatch(value):
            yield "FieldValueInvalid", "spec.template.labels", f'Invalid value: "{value}": of label {key}'
    if not spec.get("containers"):
        yield "FieldValueRequired", f"{at}.containers", "Required value"
    volumes = [volume.get("name", "") for volume in spec.get("volumes") or []]
    for name in {name for name in volumes if volumes.count(name) > 1}:
        yield "FieldValueDuplicate", f"{at}.volumes", f'Duplicate value: "{name}"'
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or []):
            yield from _container(f"{at}.{field}[{index}]", container, set(volumes))


def _container(at: str, container: dict[str, Any], volumes: set[str]) -> Iterator[Cause]:
    if not DNS_LABEL.fullmatch(container.get("name", "")):
        yield "FieldValueInvalid", f"{at}.name", f'Invalid value: "{container.get("name")}"'
    if not str(container.get("image") or "").strip():
        yield "FieldValueRequired", f"{at}.image", "Required value"
    for variable in container.get("env") or []:
        if not variable.get("name") or "=" in variable["name"]:
            yield "FieldValueInvalid", f"{at}.env.name", f'Invalid value: "{variable.get("name")}"'
    for mount in container.get("volumeMounts") or []:
        if mount.get("name") not in volumes:
            yield "FieldValueNotFound", f"{at}.volumeMounts", f'Not found: "{mount.get("name")}"'
    for kind, amounts in (container.get("resources") or {}).items():
        for resource, amount in (amounts or {}).items():
            if not QUANTITY.fullmatch(str(amount)):
                yield "FieldValueInvalid", f"{at}.resources.{kind}.{resource}", f'Invalid value: "{amount}"'


def _size(thing: Object) -> int:
    return sum(len(str(value).encode()) for value in (thing.get("data") or {}).values())


def pod_security_warning(job: Object) -> str:
    """Warning about a Job in a namespace with Pod Security ``restricted``; empty if there is none."""
    spec = job["spec"]["template"]["spec"]
    complaints: list[str] = []
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        context = container.get("securityContext") or {}
        good = (
            context.get("allowPrivilegeEscalation") is False
            and context.get("runAsNonRoot") is True
            and "ALL" in ((context.get("capabilities") or {}).get("drop") or [])
            and (context.get("seccompProfile") or {}).get("type") in ("RuntimeDefault", "Localhost")
        )
        if not good:
            complaints.append(container["name"])
    if any("hostPath" in volume for volume in spec.get("volumes") or []):
        complaints.append("hostPath volumes")
    return f'would violate PodSecurity "restricted:latest": {", ".join(complaints)}' if complaints else ""
