"""State of one benchmark, derived from its Job and pods and from how long a condition has lasted."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from evalhub_runtime_k8s.diagnosis import (
    ADAPTER,
    DISAPPEARED,
    NO_POD,
    UNREACHABLE,
    Trouble,
    disruption_for,
    exit_for,
    exit_of_job,
    explain,
    find_trouble,
)
from evalhub_runtime_k8s.object_status import Job, Pod
from evalhub_server.plugins import Exit, Notice

ABSENT = "absent"
POLLS_WITHOUT_A_JOB = 2


class Timeouts(Struct, kw_only=True, frozen=True):
    """How long each condition may last, in seconds. ``absent``: a Job that is missing from the list."""

    image_pull_timeout: float = 300.0
    container_error_timeout: float = 60.0
    notice_after: float = 120.0
    absent: float = 5.0
    node_lost: float = 60.0
    access: float = 300.0


class Observation(Struct, kw_only=True, frozen=True):
    """State between two polls: the current trouble, when it began, and how often it was seen.

    ``node`` and ``disruption`` (its reason) are of the last pod: they explain why it is gone. ``vanishing``: the Job was
    missing, or it or its pod was being deleted.
    """

    trouble: str = ""
    since_s: float = 0.0
    polls: int = 0
    node: str = ""
    disruption: str = ""
    vanishing: bool = False

    def seeing(self, trouble: str, now_s: float) -> Observation:
        if trouble and trouble == self.trouble:
            return replace(self, polls=self.polls + 1)
        return replace(self, trouble=trouble, since_s=now_s, polls=1)

    def of(self, job: Job | None, pod: Pod | None) -> Observation:
        """Remember the pod, and whether it or the Job is being deleted."""
        deleted = job is None or job.metadata.deletion_timestamp
        if pod is None:
            return replace(self, vanishing=bool(deleted))
        return replace(
            self,
            node=pod.spec.node_name or "",
            disruption=(pod.disruption.reason or "") if pod.disruption else "",
            vanishing=bool(deleted or pod.metadata.deletion_timestamp),
        )

    def lasted_s(self, now_s: float) -> float:
        return now_s - self.since_s


class Assessment(Struct, kw_only=True, frozen=True):
    """``exit``: the workload has ended, or cannot make progress. ``notice``: its condition until then."""

    observation: Observation
    exit: Exit | None = None
    notice: Notice | None = None


def assess(
    job: Job | None,
    pods: list[Pod],
    observation: Observation,
    now_s: float,
    timeouts: Timeouts,
    warning: str = "",
    utc_s: float = 0.0,
) -> Assessment:
    """Derive the state from the objects alone; ``observation`` only tracks how long a condition lasts.

    ``warning``: the warnings of the API from the creation of the Job. ``now_s`` is a time of any clock, ``utc_s`` the time
    since the epoch, with which times of the API are compared.
    """
    pod = max(pods, key=lambda pod: pod.metadata.creation_timestamp or "", default=None)
    observation = observation.of(job, pod)
    if job is None:
        return _absent(observation.seeing(ABSENT, now_s), now_s, timeouts)
    clear = observation.seeing("", now_s)
    exit_ = exit_of_job(job, pods)
    if exit_ is not None:
        if exit_.reason == NO_POD.reason and observation.disruption:
            exit_ = exit_for(disruption_for(observation.disruption), lost=True)
        return Assessment(observation=clear, exit=exit_)
    if pod is not None and (unreachable := _unreachable(pod, clear, timeouts, utc_s)) is not None:
        return unreachable
    if job.spec.suspend:
        return Assessment(observation=clear, notice=_suspended(job))
    if job.metadata.deletion_timestamp:
        text = "The Job is being deleted; it is removed when its pod has terminated."
        return Assessment(observation=clear, notice=Notice(reason="job_terminating", message=text))
    if pod is None:
        return _without_pod(job, observation.seeing("no_pod", now_s), now_s, timeouts, warning)
    found = find_trouble(pod)
    if found is not None:
        trouble, container = found
        updated = observation.seeing(f"{pod.metadata.uid}/{trouble.reason}", now_s)
        return _troubled(trouble, explain(trouble, container), updated, now_s, timeouts, runs=_runs(pod))
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        updated = observation.seeing("unschedulable", now_s)
        text = f"No node can run the pod ({scheduled.reason}): {scheduled.message or 'no reason is given'}"
        return _notice_after("unschedulable", text, updated, now_s, timeouts)
    return Assessment(observation=clear)


def _unreachable(pod: Pod, observation: Observation, timeouts: Timeouts, utc_s: float) -> Assessment | None:
    """Assess a pod that is being deleted, if its kubelet does not seem to take part in that.

    Until it does, the Job has not failed and gets no other pod, so nothing else would end the benchmark.
    """
    overdue_s = pod.overdue_s(utc_s)
    if overdue_s is None or pod.finished:
        return None
    detail = f"node '{observation.node}'" if observation.node else ""
    if pod.disruption is not None and pod.disruption.message:
        detail = f"{detail}: {pod.disruption.message}" if detail else pod.disruption.message
    if overdue_s >= timeouts.node_lost:
        return Assessment(observation=observation, exit=exit_for(UNREACHABLE, detail, lost=True))
    if overdue_s <= 0 and disruption_for(observation.disruption).reason != UNREACHABLE.reason:
        return None
    text = (
        f"{exit_for(UNREACHABLE, detail).message}. The benchmark fails unless the pod has ended "
        f"{timeouts.node_lost:.12g} seconds after {pod.metadata.deletion_timestamp}."
    )
    return Assessment(observation=observation, notice=Notice(reason=UNREACHABLE.reason, message=text))


def _absent(observation: Observation, now_s: float, timeouts: Timeouts) -> Assessment:
    # A single list may come from a cache that does not have the Job yet.
    if observation.polls >= POLLS_WITHOUT_A_JOB and observation.lasted_s(now_s) >= timeouts.absent:
        return Assessment(observation=observation, exit=exit_for(DISAPPEARED, lost=True))
    return Assessment(observation=observation)


def _suspended(job: Job) -> Notice:
    queue = job.metadata.labels.queue if job.metadata.labels else ""
    condition = job.condition("Suspended")
    if queue:
        text = f"Waits until its queue '{queue}' admits it."
    else:
        message = (condition.message if condition else "") or "the Job is suspended"
        text = f"Waits until it is resumed: {message}."
    return Notice(reason="suspended", message=text)


def _without_pod(
    job: Job, observation: Observation, now_s: float, timeouts: Timeouts, warning: str
) -> Assessment:
    text = (
        "The cluster has not created a pod for the Job; a quota or policy of the namespace may forbid it. "
        f"See its events: kubectl -n {job.metadata.namespace} describe job {job.metadata.name}"
    )
    if warning:
        text += f". Warning at the creation of the Job: {warning}"
    return _notice_after("no_pod", text, observation, now_s, timeouts)


def _notice_after(
    reason: str, text: str, observation: Observation, now_s: float, timeouts: Timeouts
) -> Assessment:
    lasted = observation.lasted_s(now_s) >= timeouts.notice_after
    return Assessment(observation=observation, notice=Notice(reason=reason, message=text) if lasted else None)


def _troubled(
    trouble: Trouble, text: str, observation: Observation, now_s: float, timeouts: Timeouts, *, runs: bool
) -> Assessment:
    timeout_s: float = getattr(timeouts, trouble.timeout)
    if not runs and observation.lasted_s(now_s) >= timeout_s:
        exit_ = Exit(reason=trouble.reason, message=text, hint=trouble.hint)
        return Assessment(observation=observation, exit=exit_)
    return Assessment(
        observation=observation, notice=Notice(reason=trouble.reason, message=f"{text}. {trouble.hint}")
    )


def _runs(pod: Pod) -> bool:
    """Does the adapter run? Then a restarting sidecar does not fail the benchmark."""
    adapter = pod.container(ADAPTER)
    return adapter is not None and adapter.state is not None and adapter.state.running is not None
