"""The Job controller: one Pod for each Job that is not suspended, and the Job's status from that of its Pod."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from harness.kube.defaults import with_defaults
from harness.kube.garbage import delete, finished, release
from harness.kube.kinds import (
    JOBS,
    PODS,
    Object,
    finalizers_of,
    kind_of,
    labels_of,
    name_of,
    namespace_of,
    owners_of,
    terminating,
    uid_of,
)
from harness.kube.store import Store, now

BACKOFF = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
TRACKING = "batch.kubernetes.io/job-tracking"


class JobController:
    """Level-triggered: :meth:`sync` looks at the whole state of what has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.refuses_pods = False
        """A policy of the namespace refuses every pod, and the Job waits."""

    def sync(self, changed: Sequence[Object]) -> None:
        """Do what is missing for the Jobs and pods that have changed."""
        jobs: dict[str, Object] = {}
        for thing in changed:
            for uid in (uid_of(thing), *(owner["uid"] for owner in owners_of(thing))):
                found = self._store.by_uid(uid)
                if found is not None and kind_of(found) is JOBS:
                    jobs[uid] = found
        for job in jobs.values():
            self._sync(job)
        for pod in [self._store.by_uid(uid_of(thing)) for thing in changed if kind_of(thing) is PODS]:
            if pod is not None and TRACKING in finalizers_of(pod) and (terminating(pod) or finished(pod)):
                release(self._store, pod, TRACKING)

    def _sync(self, job: Object) -> None:
        pods = self._pods(job)
        if terminating(job) or over(job):
            return
        if job["spec"].get("suspend"):
            for pod in pods:
                delete(self._store, pod, "Background")
            self._status(job, {"conditions": [condition("Suspended", "JobSuspended", "Job suspended")]})
            return
        ended = [pod for pod in pods if finished(pod) and not _ignored(job, pod)]
        active = [pod for pod in pods if not finished(pod)]
        replaced = job["spec"].get("podReplacementPolicy") != "Failed"
        if any(pod["status"]["phase"] == "Succeeded" for pod in ended):
            met = condition(
                "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"
            )
            done = {**met, "type": "Complete"}
            self._status(job, {"succeeded": 1, "conditions": [met, done], "completionTime": now()})
        elif replaced and any(terminating(pod) for pod in active):
            # It counts as failed, but the Job has failed only when the pod has ended.
            self._status(job, {"active": 1, "terminating": 1, "conditions": [_target(*BACKOFF)]})
        elif ended or (not pods and (job.get("status") or {}).get("active")):
            self._fail(job, *BACKOFF)
        elif not active and not self.refuses_pods:
            self._store.put(self._pod(job))
            self._status(job, {"active": 1, "ready": 0, "startTime": now()})

    def fail(self, job: Object, reason: str, message: str) -> None:
        """End a Job and its pod, as for a missed deadline."""
        for pod in self._pods(job):
            delete(self._store, pod, "Background")
        self._fail(job, reason, message)

    def _fail(self, job: Object, reason: str, message: str) -> None:
        target = _target(reason, message)
        self._status(job, {"failed": 1, "conditions": [target, {**target, "type": "Failed"}]})

    def _pods(self, job: Object) -> list[Object]:
        uid = uid_of(job)
        own = (thing for thing in self._store.dependents(uid) if kind_of(thing) is PODS)
        return [pod for pod in own if labels_of(pod).get("batch.kubernetes.io/controller-uid") == uid]

    def _status(self, job: Object, status: dict[str, Any]) -> None:
        current = self._store.find(JOBS, namespace_of(job), name_of(job))
        if current is None:
            return
        old = current.get("status") or {}
        new = {"startTime": old["startTime"], **status} if "startTime" in old else status
        if _without_times(old) != _without_times(new):
            self._store.put({**current, "status": new})

    def _pod(self, job: Object) -> Object:
        template = copy.deepcopy(job["spec"]["template"])
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name_of(job),
            "uid": uid_of(job),
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = {
            **template.get("metadata", {}),
            "generateName": f"{name_of(job)}-",
            "namespace": namespace_of(job),
            "finalizers": [TRACKING],
            "ownerReferences": [owner],
        }
        return with_defaults(
            PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        )


def _target(reason: str, message: str) -> dict[str, Any]:
    return condition("FailureTarget", reason, message)


def _ignored(job: Object, pod: Object) -> bool:
    """The Job's failure policy replaces a pod that was disrupted."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or []
    conditions = (pod.get("status") or {}).get("conditions") or []
    disrupted = any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in conditions)
    return disrupted and any(rule["action"] == "Ignore" for rule in rules)


def over(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def condition(type_: str, reason: str, message: str, status: str = "True") -> dict[str, Any]:
    moment = now()
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastProbeTime": moment,
        "lastTransitionTime": moment,
    }


def _without_times(status: Any) -> Any:
    if isinstance(status, dict):
        return {k: _without_times(v) for k, v in status.items() if not k.endswith(("Time", "startTime"))}
    return [_without_times(item) for item in status] if isinstance(status, list) else status
