"""One pod as its kubelet sees it: what a script makes it go through becomes its status."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from harness.kube.controller import condition
from harness.kube.garbage import delete
from harness.kube.kinds import (
    CONFIG_MAPS,
    JOBS,
    PODS,
    Object,
    name_of,
    namespace_of,
    owners_of,
    terminating,
    uid_of,
)
from harness.kube.podlogs import PodLogs
from harness.kube.store import Store, now

ADAPTER = "adapter"
NODE = "node-1"


class PodScript:
    """What scripts call. A pod that is gone ignores everything."""

    def __init__(self, store: Store, logs: PodLogs, pod: Object) -> None:
        self._store = store
        self._logs = logs
        self._first = pod
        self.terminating = asyncio.Event()
        """Set when the pod is being deleted: what SIGTERM is to its processes."""

    @property
    def pod(self) -> Object | None:
        """The pod as it is now, or None when it is gone."""
        found = self._store.find(PODS, namespace_of(self._first), name_of(self._first))
        return found if found is not None and uid_of(found) == uid_of(self._first) else None

    @property
    def name(self) -> str:
        return name_of(self._first)

    @property
    def namespace(self) -> str:
        return namespace_of(self._first)

    def config_map(self, volume: str) -> dict[str, str]:
        """The data of the ConfigMap that a volume names."""
        volumes = {v["name"]: v for v in self._first["spec"]["volumes"]}
        name = volumes[volume]["configMap"]["name"]
        return self._store.get(CONFIG_MAPS, self.namespace, name)["data"]

    @property
    def adapter(self) -> Object:
        """The specification of the adapter's container."""
        return next(c for c in self._first["spec"]["containers"] if c["name"] == ADAPTER)

    @property
    def env(self) -> dict[str, str]:
        return {variable["name"]: variable.get("value", "") for variable in self.adapter.get("env") or []}

    @property
    def job(self) -> Object | None:
        owners = owners_of(self._first)
        return self._store.find(JOBS, namespace_of(self._first), owners[0]["name"]) if owners else None

    def unschedulable(self, message: str = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.") -> None:
        self._condition("PodScheduled", "False", "Unschedulable", message)

    def scheduled(self) -> None:
        self._update(lambda pod: pod["spec"].update(nodeName=NODE))
        self._condition("PodScheduled", "True", "", "")

    def waits(self, reason: str, message: str = "", container: str = ADAPTER) -> None:
        """The container cannot start: ``ImagePullBackOff`` and the like."""
        self._need_node()
        self._state(container, {"waiting": {"reason": reason, "message": message}})

    def runs(self) -> None:
        """All containers run."""
        self._need_node()
        for container in self._sidecars():
            self._state(container, {"running": {"startedAt": now()}})
        self._state(ADAPTER, {"running": {"startedAt": now()}})
        self._update(lambda pod: pod["status"].update(phase="Running", startTime=now()))

    def prints(self, text: str | bytes, container: str = ADAPTER) -> None:
        self._logs.write(uid_of(self._first), container, text.encode() if isinstance(text, str) else text)

    def exits(self, code: int, reason: str = "", message: str = "", container: str = ADAPTER) -> None:
        """A container ends; the pod with it, unless it is the sidecar that ended first and is started again."""
        self._need_node()
        ended = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error")}
        if message:
            ended["message"] = message
        self._state(container, {"terminated": {**ended, "startedAt": now(), "finishedAt": now()}})
        if container == ADAPTER:
            for sidecar in self._sidecars():
                self._state(
                    sidecar, {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now()}}
                )
        phase = "Succeeded" if code == 0 else "Failed"
        self._update(lambda pod: pod["status"].update(phase=phase))

    def evicted(self, message: str = "The node was low on resource: ephemeral-storage.") -> None:
        self._need_node()
        self._condition("DisruptionTarget", "True", "TerminationByKubelet", message)
        self._update(lambda pod: pod["status"].update(phase="Failed", reason="Evicted", message=message))

    def preempted(
        self, message: str = "default-scheduler: preempting to accommodate a higher priority pod"
    ) -> None:
        self._need_node()
        self._condition("DisruptionTarget", "True", "PreemptionByScheduler", message)
        self.exits(137, "Error")

    def tainted(self) -> None:
        """The taint manager deletes the pod: its node became unreachable."""
        self._condition(
            "DisruptionTarget",
            "True",
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
        )
        if (pod := self.pod) is not None:
            delete(self._store, pod, "Background")

    def collected(self) -> None:
        """The garbage collector of pods removes the pod of a node that does not exist."""
        self._condition("DisruptionTarget", "True", "DeletionByPodGC", "PodGC: node no longer exists")
        self.gone()

    def gone(self) -> None:
        """The node took the pod with it."""
        pod = self.pod
        if pod is not None:
            self._store.remove(pod)

    def _sidecars(self) -> list[str]:
        containers = self._first["spec"].get("initContainers") or []
        return [c["name"] for c in containers if c.get("restartPolicy") == "Always"]

    def _need_node(self) -> None:
        pod = self.pod
        if pod is not None and not pod["spec"].get("nodeName"):
            self.scheduled()

    def _state(self, container: str, state: dict[str, Any]) -> None:
        regular = {c["name"] for c in self._first["spec"]["containers"]}
        field = "containerStatuses" if container in regular else "initContainerStatuses"

        def change(pod: Object) -> None:
            statuses = pod["status"].setdefault(field, [])
            kept = [status for status in statuses if status["name"] != container]
            running = "running" in state
            entry = {
                "name": container,
                "state": state,
                "ready": running,
                "started": running,
                "restartCount": 0,
                "image": "",
                "imageID": "",
            }
            pod["status"][field] = [*kept, entry]

        self._update(change)

    def _condition(self, type_: str, status: str, reason: str, message: str) -> None:
        def change(pod: Object) -> None:
            kept = [c for c in pod["status"].get("conditions", []) if c["type"] != type_]
            pod["status"]["conditions"] = [*kept, condition(type_, reason, message, status)]

        self._update(change)

    def _update(self, change: Any) -> None:
        pod = self.pod
        if pod is None:
            return
        changed = copy.deepcopy(pod)
        change(changed)
        self._store.put(changed)

    def note_deletion(self) -> None:
        pod = self.pod
        if pod is None or terminating(pod):
            self.terminating.set()
