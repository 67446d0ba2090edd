"""What the API server adds to an object on creation."""

from __future__ import annotations

import copy
import uuid
from typing import Any

from harness.kube.kinds import JOBS, PODS, Kind, Object
from harness.kube.store import now


def with_defaults(kind: Kind, thing: Object) -> Object:
    """A copy with identity, times and the defaults of its kind."""
    made = copy.deepcopy(thing)
    metadata = made["metadata"]
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"][:58] + uuid.uuid4().hex[:5]
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = now()
    if kind is JOBS:
        metadata["generation"] = 1
        _job(made)
    elif kind is PODS:
        _pod_spec(made.setdefault("spec", {}))
        made.setdefault("status", {"phase": "Pending", "qosClass": "Burstable"})
    return made


def _job(job: Object) -> None:
    spec = job["spec"]
    uid = job["metadata"]["uid"]
    for field, value in {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "podReplacementPolicy": "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed",
    }.items():
        spec.setdefault(field, value)
    own = {"batch.kubernetes.io/controller-uid": uid}
    spec["selector"] = {"matchLabels": own}
    template = spec["template"].setdefault("metadata", {})
    names = {"batch.kubernetes.io/job-name": job["metadata"]["name"], "job-name": job["metadata"]["name"]}
    template["labels"] = {**(template.get("labels") or {}), **own, "controller-uid": uid, **names}
    _pod_spec(spec["template"].setdefault("spec", {}))
    job["status"] = {}


def _pod_spec(spec: dict[str, Any]) -> None:
    for field, value in {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "schedulerName": "default-scheduler",
        "securityContext": {},
    }.items():
        spec.setdefault(field, value)
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("resources", {})
