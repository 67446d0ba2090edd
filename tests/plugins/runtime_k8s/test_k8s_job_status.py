"""What is made of a Job and its pods: the decision table, without a cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from evalhub_runtime_k8s.job_status import Assessment, Observation, Timeouts, assess
from evalhub_runtime_k8s.object_status import Job, Pod

TIMEOUTS = Timeouts(
    image_pull_timeout=300, container_error_timeout=60, notice_after=120, absent=10, node_lost=60
)
DELETED_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def a_job(*conditions: dict[str, Any], labels: dict[str, str] | None = None, **fields: Any) -> Job:
    document = {
        "metadata": {"name": "j", "labels": labels or {}, **fields.pop("metadata", {})},
        "spec": fields.pop("spec", {}),
        "status": {"conditions": [{"status": "True", **condition} for condition in conditions]},
    }
    return msgspec.convert(document, Job)


def a_pod(**status: Any) -> Pod:
    return msgspec.convert({"metadata": {"name": "p", "uid": "u"}, "status": status}, Pod)


def adapter(**state: Any) -> dict[str, Any]:
    return {"phase": "Failed", "containerStatuses": [{"name": "adapter", "state": state}]}


def waiting(reason: str, message: str = "") -> Pod:
    state = {"waiting": {"reason": reason, "message": message}}
    return a_pod(phase="Pending", containerStatuses=[{"name": "adapter", "state": state}])


FAILED = {"type": "Failed", "reason": "BackoffLimitExceeded", "message": "limit reached"}
COMPLETE = {"type": "Complete", "reason": "CompletionsReached"}


def over(job: Job, *pods: Pod) -> Assessment:
    return assess(job, list(pods), Observation(), 0, TIMEOUTS)


def at(seconds: float, verdict: Assessment, job: Job | None, *pods: Pod) -> Assessment:
    return assess(job, list(pods), verdict.observation, seconds, TIMEOUTS, utc_s=DELETED_S + seconds)


def terminated(code: int, reason: str = "Error", **fields: Any) -> Pod:
    return a_pod(**adapter(terminated={"exitCode": code, "reason": reason, **fields}))


@pytest.mark.parametrize(
    ("pod", "reason", "fragment"),
    [
        (terminated(137, "OOMKilled"), "oom_killed", "memory"),
        (terminated(1, "OOMKilled"), "oom_killed", "memory"),
        (terminated(137), "adapter_killed", "SIGKILL (exit code 137)"),
        (a_pod(phase="Failed"), "pod_lost", "limit reached"),
        (terminated(139, message="core dumped"), "adapter_killed", "SIGSEGV (exit code 139): core dumped"),
        (
            terminated(128, "StartError", message="exec: no such file"),
            "container_start_failed",
            "no such file",
        ),
        (a_pod(phase="Failed", reason="Evicted", message="disk pressure."), "evicted", "disk pressure"),
    ],
)
def test_a_failed_job_says_what_happened_to_its_adapter(pod: Pod, reason: str, fragment: str):
    exit_ = over(a_job(FAILED), pod).exit
    assert exit_ is not None
    assert exit_.reason == reason
    assert fragment in exit_.message
    assert exit_.hint


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("PreemptionByScheduler", "preempted"),
        ("EvictionByEvictionAPI", "evicted"),
        ("DeletionByTaintManager", "node_lost"),
        ("TerminationByKubelet", "evicted"),
        ("DeletionByPodGC", "node_lost"),
        ("SomethingNew", "evicted"),
    ],
)
def test_a_disruption_goes_before_the_exit_code_that_it_caused(cause: str, reason: str):
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": cause, "message": "why"}
    pod = a_pod(conditions=[disrupted], **adapter(terminated={"exitCode": 137, "reason": "Error"}))
    exit_ = over(a_job(FAILED), pod).exit
    assert exit_ is not None
    assert (exit_.reason, exit_.message.endswith(": why")) == (reason, True)


def test_an_exit_code_is_reported_with_the_termination_message():
    exit_ = over(a_job(FAILED), terminated(3, message="boom\n")).exit
    assert exit_ is not None
    assert (exit_.code, exit_.reason, exit_.message, exit_.lost) == (3, "", "boom", False)


def test_test_data_that_cannot_be_fetched_are_named():
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": "the bucket is empty"}}
    pod = a_pod(phase="Failed", initContainerStatuses=[{"name": "init", "state": ended}])
    exit_ = over(a_job(FAILED), pod).exit
    assert exit_ is not None
    assert (exit_.reason, "the bucket is empty" in exit_.message) == ("test_data_failed", True)


def test_a_sidecar_that_failed_alone_is_named():
    ended = {"terminated": {"exitCode": 2, "reason": "Error", "message": "no base_url"}}
    pod = a_pod(phase="Failed", initContainerStatuses=[{"name": "sidecar", "state": ended}])
    exit_ = over(a_job(FAILED), pod).exit
    assert exit_ is not None
    assert (exit_.reason, exit_.code) == ("sidecar_failed", 2)
    assert "exited with code 2: no base_url" in exit_.message


def test_a_failed_job_without_a_pod_has_lost_it():
    exit_ = over(a_job(FAILED)).exit
    assert exit_ is not None
    assert (exit_.reason, exit_.lost) == ("pod_lost", True)


def test_the_newest_pod_counts():
    old = msgspec.structs.replace(terminated(3), metadata=Pod().metadata)
    new = msgspec.convert(
        {
            "metadata": {"creationTimestamp": "2026-01-02T00:00:00Z"},
            "status": adapter(terminated={"exitCode": 4}),
        },
        Pod,
    )
    exit_ = over(a_job(FAILED), new, old).exit
    assert exit_ is not None
    assert exit_.code == 4


def test_a_missed_deadline_is_no_exit_code():
    exit_ = over(a_job({"type": "Failed", "reason": "DeadlineExceeded"}), terminated(143)).exit
    assert exit_ is not None
    assert exit_.reason == "deadline_exceeded"


def test_a_complete_job_ended_with_zero_also_without_its_pod():
    for pods in ([], [terminated(0, "Completed")]):
        exit_ = over(a_job(COMPLETE), *pods).exit
        assert exit_ is not None
        assert (exit_.code, exit_.reason) == (0, "")


@pytest.mark.parametrize("type_", ["FailureTarget", "SuccessCriteriaMet"])
def test_a_job_that_is_about_to_end_has_not_ended(type_: str):
    assert over(a_job({"type": type_}), terminated(3)).exit is None


def test_a_condition_that_does_not_hold_says_nothing():
    assert over(a_job({"type": "Failed", "status": "False"})).exit is None


def test_a_job_has_disappeared_when_two_looks_apart_do_not_see_it():
    first = at(0, over(a_job()), None)
    soon = at(1, first, None)
    assert (first.exit, soon.exit) == (None, None)
    late = at(10, soon, None)
    assert late.exit is not None
    assert (late.exit.reason, late.exit.lost) == ("job_disappeared", True)


def test_a_job_that_is_seen_again_has_not_disappeared():
    back = at(9, at(0, over(a_job()), None), a_job())
    assert at(10, back, None).exit is None


def test_a_suspended_job_waits_for_its_queue_for_ever():
    job = a_job({"type": "Suspended"}, labels={"kueue.x-k8s.io/queue-name": "lq"}, spec={"suspend": True})
    verdict = at(10**6, over(job), job)
    assert verdict.exit is None
    assert verdict.notice is not None
    assert (verdict.notice.reason, "'lq'" in verdict.notice.message) == ("suspended", True)


def test_a_job_suspended_from_outside_has_a_notice():
    verdict = over(a_job(spec={"suspend": True}))
    assert verdict.notice is not None
    assert verdict.notice.reason == "suspended"


def test_a_pod_without_a_node_is_a_warning_after_a_while_and_never_a_failure():
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}
    job, pod = a_job(), a_pod(phase="Pending", conditions=[condition])
    first = over(job, pod)
    assert (first.notice, at(119, first, job, pod).notice) == (None, None)
    late = at(10**6, first, job, pod)
    assert late.exit is None
    assert late.notice is not None
    assert (late.notice.reason, "no GPU" in late.notice.message) == ("unschedulable", True)


def test_a_job_without_a_pod_is_a_warning_after_a_while():
    first = over(a_job())
    late = at(120, first, a_job())
    assert (first.notice, late.exit) == (None, None)
    assert late.notice is not None
    assert late.notice.reason == "no_pod"
    notice = assess(a_job(), [], first.observation, 120, TIMEOUTS, "would violate PodSecurity").notice
    assert notice is not None
    assert notice.message.endswith("creation of the Job: would violate PodSecurity")


@pytest.mark.parametrize(
    ("word", "reason", "timeout_s"),
    [
        ("ImagePullBackOff", "image_pull_failed", 300),
        ("ErrImagePull", "image_pull_failed", 300),
        ("CrashLoopBackOff", "container_crashes", 300),
        ("InvalidImageName", "image_invalid", 60),
        ("ErrImageNeverPull", "image_invalid", 60),
        ("CreateContainerConfigError", "container_config_error", 60),
        ("CreateContainerError", "container_config_error", 60),
        ("RunContainerError", "container_config_error", 60),
    ],
)
def test_a_container_that_cannot_start_is_given_its_time(word: str, reason: str, timeout_s: float):
    job, pod = a_job(), waiting(word, "the kubelet's words")
    first = over(job, pod)
    assert first.notice is not None
    assert first.notice.reason == reason
    assert at(timeout_s - 1, first, job, pod).exit is None
    late = at(timeout_s, first, job, pod).exit
    assert late is not None
    assert (late.reason, "the kubelet's words" in late.message) == (reason, True)


def test_a_problem_that_returns_gets_its_full_timeout():
    job, pod = a_job(), waiting("ImagePullBackOff")
    better = at(200, over(job, pod), job, waiting("ContainerCreating"))
    assert (better.notice, better.exit) == (None, None)
    assert at(400, better, job, pod).exit is None


def test_the_words_of_one_trouble_may_alternate():
    job = a_job()
    second = at(150, over(job, waiting("ErrImagePull")), job, waiting("ImagePullBackOff"))
    assert at(300, second, job, waiting("ErrImagePull")).exit is not None


def test_a_sidecar_that_crashes_before_the_adapter_starts_is_given_up():
    def crashed(state: dict[str, Any]) -> Pod:
        last = {"terminated": {"exitCode": 1, "message": "no base_url"}}
        sidecar = {"name": "sidecar", "restartCount": 3, "state": state, "lastState": last}
        return a_pod(phase="Pending", initContainerStatuses=[sidecar])

    job = a_job()
    backing_off, trying = crashed({"waiting": {"reason": "CrashLoopBackOff"}}), crashed({"running": {}})
    late = at(300, at(150, over(job, backing_off), job, trying), job, backing_off).exit
    assert late is not None
    assert (late.reason, "no base_url" in late.message) == ("container_crashes", True)


def test_a_sidecar_that_crashes_beside_a_running_adapter_is_only_a_warning():
    sidecar = {"name": "sidecar", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    pod = a_pod(
        phase="Running",
        initContainerStatuses=[sidecar],
        containerStatuses=[{"name": "adapter", "state": {"running": {}}}],
    )
    late = at(10**6, over(a_job(), pod), a_job(), pod)
    assert late.exit is None
    assert late.notice is not None


def test_a_job_that_is_being_deleted_says_so_until_it_is_gone():
    verdict = over(a_job(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    assert verdict.exit is None
    assert verdict.notice is not None
    assert verdict.notice.reason == "job_terminating"


def test_nulls_in_an_answer_are_absent_fields():
    job = msgspec.json.decode(
        b'{"metadata":{"name":"j","labels":null},"spec":{"suspend":null},"status":{"conditions":null}}',
        type=Job,
    )
    pod = msgspec.json.decode(b'{"status":{"phase":"Running","containerStatuses":null}}', type=Pod)
    assert assess(job, [pod], Observation(), 0, TIMEOUTS).exit is None


# --- nodes ------------------------------------------------------------------------------------------------------


def deleted(reason: str = "", **status: Any) -> Pod:
    """A pod that is to be gone at :data:`DELETED_S`."""
    conditions = [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "why"}]
    document = {
        "metadata": {"name": "p", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "conditions": conditions if reason else [], **status},
    }
    return msgspec.convert(document, Pod)


FAILING = {"type": "FailureTarget", "reason": "BackoffLimitExceeded"}


def test_a_pod_of_an_unreachable_node_warns_at_once_and_fails_a_minute_after_its_deletion():
    pod, job = deleted("DeletionByTaintManager"), a_job(FAILING)
    first = at(-30, over(job), job, pod)
    assert first.exit is None
    assert first.notice is not None
    assert first.notice.reason == "node_lost"
    assert "node 'n1': why" in first.notice.message
    assert at(59, first, job, pod).exit is None
    late = at(60, first, job, pod).exit
    assert late is not None
    assert (late.reason, late.lost) == ("node_lost", True)


@pytest.mark.parametrize("reason", ["", "EvictionByEvictionAPI"])
def test_a_pod_that_has_its_grace_period_is_no_trouble_before_its_end(reason: str):
    pod, job = deleted(reason), a_job()
    within = at(-1, over(job), job, pod)
    assert (within.exit, within.notice) == (None, None)
    late = at(1, within, job, pod)
    assert late.notice is not None
    assert late.notice.reason == "node_lost"
    assert at(60, late, job, pod).exit is not None


def test_a_deleted_job_whose_pod_never_ends_is_lost_with_its_node():
    job = a_job(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    early = at(-1, over(job), job, deleted())
    assert early.notice is not None
    assert early.notice.reason == "job_terminating"
    exit_ = at(60, early, job, deleted()).exit
    assert exit_ is not None
    assert exit_.reason == "node_lost"


def test_a_pod_that_has_ended_is_not_lost_although_it_stays():
    job = a_job(FAILING)
    assert at(10**6, over(job), job, deleted("DeletionByTaintManager", phase="Failed")).exit is None


@pytest.mark.parametrize(
    ("reason", "lost_as"), [("DeletionByTaintManager", "node_lost"), ("PreemptionByScheduler", "preempted")]
)
def test_a_pod_that_is_gone_was_lost_to_what_disrupted_it(reason: str, lost_as: str):
    job = a_job()
    before = at(-30, over(job), job, deleted(reason))
    exit_ = at(0, before, a_job(FAILED)).exit
    assert exit_ is not None
    assert (exit_.reason, exit_.lost) == (lost_as, True)


def test_a_job_without_a_pod_names_the_command_that_shows_why():
    job = a_job(metadata={"namespace": "team-a"})
    late = at(120, at(0, over(job), job), job)
    assert late.notice is not None
    assert "kubectl -n team-a describe job j" in late.notice.message
