"""Fields of Jobs and pods from which the state of a benchmark is derived."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from evalhub_runtime_k8s.labels import QUEUE_NAME


class Labels(Struct, frozen=True):
    """The labels that are read; all of them would be most of the memory of an open benchmark's objects."""

    job_name: str = field(name="batch.kubernetes.io/job-name", default="")
    legacy_job_name: str = field(name="job-name", default="")
    queue: str = field(name=QUEUE_NAME, default="")


class Metadata(Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: Labels | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class Condition(Struct, frozen=True, rename="camel"):
    type: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None


class Waiting(Struct, frozen=True):
    reason: str | None = None
    message: str | None = None


class Terminated(Struct, frozen=True, rename="camel"):
    exit_code: int = 0
    signal: int | None = None
    reason: str | None = None
    message: str | None = None


class ContainerState(Struct, frozen=True):
    waiting: Waiting | None = None
    running: dict[str, object] | None = None
    terminated: Terminated | None = None


class ContainerStatus(Struct, frozen=True, rename="camel"):
    name: str = ""
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    restart_count: int = 0


class PodSpec(Struct, frozen=True, rename="camel"):
    node_name: str | None = None


class PodStatus(Struct, frozen=True, rename="camel"):
    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class Pod(Struct, frozen=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def job_name(self) -> str:
        labels = self.metadata.labels or Labels()
        return labels.job_name or labels.legacy_job_name

    @property
    def containers(self) -> list[ContainerStatus]:
        """Status of every container, in the order of their start."""
        return [*(self.status.init_container_statuses or []), *(self.status.container_statuses or [])]

    def container(self, name: str) -> ContainerStatus | None:
        return next((status for status in self.containers if status.name == name), None)

    def condition(self, type_: str) -> Condition | None:
        return _condition(self.status.conditions, type_)

    @property
    def disruption(self) -> Condition | None:
        """Condition ``DisruptionTarget``, if the cluster has decided to terminate the pod."""
        found = self.condition("DisruptionTarget")
        return found if found is not None and found.status == "True" else None

    @property
    def finished(self) -> bool:
        """Whether all its containers have terminated."""
        return self.status.phase in ("Succeeded", "Failed")

    def overdue_s(self, utc_s: float) -> float | None:
        """Return for how long the pod has existed beyond its deletion; None if it is not being deleted.

        The time of the deletion contains the grace period, so a kubelet that works has removed the pod by then.
        """
        deleted = self.metadata.deletion_timestamp
        return utc_s - datetime.fromisoformat(deleted).timestamp() if deleted else None


class JobSpec(Struct, frozen=True):
    suspend: bool | None = None


class JobStatus(Struct, frozen=True):
    active: int | None = None
    conditions: list[Condition] | None = None


class Job(Struct, frozen=True):
    metadata: Metadata = Metadata()
    spec: JobSpec = JobSpec()
    status: JobStatus = field(default_factory=JobStatus)

    def condition(self, type_: str) -> Condition | None:
        """Return the condition if its status is True."""
        found = _condition(self.status.conditions, type_)
        return found if found is not None and found.status == "True" else None

    @property
    def outcome(self) -> Condition | None:
        """Condition ``Complete`` or ``Failed`` of a finished Job: all its containers have ended."""
        return self.condition("Complete") or self.condition("Failed")


def _condition(conditions: list[Condition] | None, type_: str) -> Condition | None:
    return next((condition for condition in conditions or [] if condition.type == type_), None)
