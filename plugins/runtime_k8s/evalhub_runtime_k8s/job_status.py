"""How one benchmark is: what its Job and its pods say, and for how long they have been saying it."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from evalhub_runtime_k8s.diagnosis import (
    ADAPTER,
    DISAPPEARED,
    Trouble,
    ending,
    exit_of,
    explained,
    trouble_of,
)
from evalhub_runtime_k8s.labels import QUEUE_NAME
from evalhub_runtime_k8s.object_status import Job, Pod
from evalhub_server.plugins import Exit, Notice

ABSENT = "absent"
POLLS_WITHOUT_A_JOB = 2


class Graces(Struct, kw_only=True, frozen=True):
    """How long what may still get better is waited for, in seconds. ``absent`` is the least between two looks."""

    image_pull_timeout: float = 300.0
    container_error_timeout: float = 60.0
    notice_after: float = 120.0
    absent: float = 5.0


class Memory(Struct, kw_only=True, frozen=True):
    """What has to be remembered between two looks: the present trouble, since when, and how often it was seen."""

    trouble: str = ""
    since_s: float = 0.0
    looks: int = 0

    def seeing(self, trouble: str, now_s: float) -> Memory:
        if trouble and trouble == self.trouble:
            return replace(self, looks=self.looks + 1)
        return Memory(trouble=trouble, since_s=now_s, looks=1)

    def lasted_s(self, now_s: float) -> float:
        return now_s - self.since_s


class Verdict(Struct, kw_only=True, frozen=True):
    """``exit``: the workload has ended, or never will do anything else. ``notice``: what to tell until then."""

    memory: Memory
    exit: Exit | None = None
    notice: Notice | None = None


def judge(
    job: Job | None, pods: list[Pod], memory: Memory, now_s: float, graces: Graces, warning: str = ""
) -> Verdict:
    """Decide from objects alone, whatever was seen before; only how long something lasts is remembered.

    ``warning`` is what the cluster said when it made the Job.
    """
    if job is None:
        return _absent(memory.seeing(ABSENT, now_s), now_s, graces)
    exit_ = ending(job, pods)
    if exit_ is not None:
        return Verdict(memory=Memory(), exit=exit_)
    if job.spec.suspend:
        return Verdict(memory=Memory(), notice=_suspended(job))
    if job.metadata.deletion_timestamp:
        text = "The Job is being deleted; it goes when its pod has ended."
        return Verdict(memory=Memory(), notice=Notice(reason="job_terminating", message=text))
    pod = max(pods, key=lambda pod: pod.metadata.creation_timestamp or "", default=None)
    if pod is None:
        return _without_pod(memory.seeing("no_pod", now_s), now_s, graces, warning)
    found = trouble_of(pod)
    if found is not None:
        trouble, container = found
        remembered = memory.seeing(f"{pod.metadata.uid}/{trouble.reason}", now_s)
        return _troubled(trouble, explained(trouble, container), remembered, now_s, graces, runs=_runs(pod))
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        remembered = memory.seeing("unschedulable", now_s)
        text = f"No node can take the pod ({scheduled.reason}): {scheduled.message or 'no reason is given'}"
        return _after_a_while("unschedulable", text, remembered, now_s, graces)
    return Verdict(memory=Memory())


def _absent(memory: Memory, now_s: float, graces: Graces) -> Verdict:
    # One look may be at a cache that has not heard of the Job yet.
    if memory.looks >= POLLS_WITHOUT_A_JOB and memory.lasted_s(now_s) >= graces.absent:
        return Verdict(memory=memory, exit=exit_of(DISAPPEARED, lost=True))
    return Verdict(memory=memory)


def _suspended(job: Job) -> Notice:
    queue = (job.metadata.labels or {}).get(QUEUE_NAME, "")
    condition = job.condition("Suspended")
    if queue:
        text = f"Waits until its queue '{queue}' admits it."
    else:
        said = (condition.message if condition else "") or "the Job is suspended"
        text = f"Waits until somebody resumes it: {said}."
    return Notice(reason="suspended", message=text)


def _without_pod(memory: Memory, now_s: float, graces: Graces, warning: str) -> Verdict:
    text = "The cluster has made no pod for the Job; perhaps a quota or a policy of the namespace forbids it."
    if warning:
        text += f" When it made the Job, it warned: {warning}"
    return _after_a_while("no_pod", text, memory, now_s, graces)


def _after_a_while(reason: str, text: str, memory: Memory, now_s: float, graces: Graces) -> Verdict:
    lasted = memory.lasted_s(now_s) >= graces.notice_after
    return Verdict(memory=memory, notice=Notice(reason=reason, message=text) if lasted else None)


def _troubled(
    trouble: Trouble, text: str, memory: Memory, now_s: float, graces: Graces, *, runs: bool
) -> Verdict:
    patience_s: float = getattr(graces, trouble.patience)
    if not runs and memory.lasted_s(now_s) >= patience_s:
        exit_ = Exit(reason=trouble.reason, message=text, hint=trouble.hint)
        return Verdict(memory=memory, exit=exit_)
    return Verdict(memory=memory, notice=Notice(reason=trouble.reason, message=f"{text}. {trouble.hint}"))


def _runs(pod: Pod) -> bool:
    """Does the adapter itself run? Then a sidecar that is being started again is no reason to give up."""
    adapter = pod.container(ADAPTER)
    return adapter is not None and adapter.state is not None and adapter.state.running is not None
