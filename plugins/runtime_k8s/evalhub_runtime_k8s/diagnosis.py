"""Diagnosis of waiting and failed benchmarks: tables from the state of pods to a reason, an explanation and a hint.

The reasons are a stable contract: they become the ``message_code`` of a benchmark's error or warning.
"""

from __future__ import annotations

import signal

from msgspec import Struct

from evalhub_runtime_k8s.object_status import ContainerStatus, Job, Pod, Terminated
from evalhub_server.plugins import Exit

ADAPTER = "adapter"
INIT = "init"
SIDECAR = "sidecar"


class Trouble(Struct, frozen=True, kw_only=True):
    """A container state that rarely resolves by itself.

    ``timeout`` names the setting that limits its duration. ``explanation`` may use ``{container}`` and
    ``{reason}``.
    """

    kubelet_reasons: frozenset[str]
    reason: str
    timeout: str
    explanation: str
    hint: str


CRASHES = Trouble(
    kubelet_reasons=frozenset({"CrashLoopBackOff"}),
    reason="container_crashes",
    timeout="image_pull_timeout",
    explanation="The container '{container}' is in a crash loop",
    hint="See its log with kubectl; for the sidecar, check the section 'sidecar' of the server's configuration.",
)
WAITING = (
    CRASHES,
    Trouble(
        kubelet_reasons=frozenset(
            {"ImagePullBackOff", "ErrImagePull", "ImageInspectError", "RegistryUnavailable"}
        ),
        reason="image_pull_failed",
        timeout="image_pull_timeout",
        explanation="The image of the container '{container}' cannot be pulled ({reason})",
        hint="Check runtime.k8s.image of the provider, and that the namespace may pull it.",
    ),
    Trouble(
        kubelet_reasons=frozenset({"InvalidImageName", "ErrImageNeverPull"}),
        reason="image_invalid",
        timeout="container_error_timeout",
        explanation="The container '{container}' has an image that cannot be used ({reason})",
        hint="Correct runtime.k8s.image of the provider.",
    ),
    Trouble(
        kubelet_reasons=frozenset(
            {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
        ),
        reason="container_config_error",
        timeout="container_error_timeout",
        explanation="The container '{container}' cannot be created ({reason})",
        hint="Check that the secrets and config maps of the job exist in its namespace, and the provider's entrypoint.",
    ),
)


class Loss(Struct, frozen=True, kw_only=True):
    """A cause of the end of a pod other than the exit of its adapter, such as an eviction."""

    reason: str
    explanation: str
    hint: str


RESUBMIT = "Submit the job again; with hardening.restart_disrupted the cluster restarts it by itself."
EVICTED = Loss(
    reason="evicted",
    explanation="The node evicted the pod",
    hint="The node was short of memory or disk; raise the provider's requests, so that the pod is placed on a node with enough.",
)
DISRUPTIONS = {
    "PreemptionByScheduler": Loss(
        reason="preempted", explanation="The pod was preempted by one of higher priority", hint=RESUBMIT
    ),
    "EvictionByEvictionAPI": Loss(
        reason="evicted",
        explanation="The pod was evicted, for example because its node was drained",
        hint=RESUBMIT,
    ),
    "DeletionByTaintManager": Loss(
        reason="node_lost", explanation="The pod's node became unreachable", hint=RESUBMIT
    ),
    "TerminationByKubelet": EVICTED,
    "DeletionByPodGC": Loss(reason="node_lost", explanation="The pod's node is gone", hint=RESUBMIT),
}
OUT_OF_MEMORY = Loss(
    reason="oom_killed",
    explanation="The adapter's container needed more memory than its limit and was killed (OOMKilled, exit code 137)",
    hint="Raise memory_limit in the provider's runtime.k8s, or hardware_config.memory of the job.",
)
CANNOT_START = Loss(
    reason="container_start_failed",
    explanation="The adapter's container could not be started",
    hint="Check runtime.k8s.entrypoint of the provider.",
)
DEADLINE = Loss(
    reason="deadline_exceeded",
    explanation="The Job ran longer than its deadline",
    hint="Raise kubernetes.hardening.deadline if the benchmark needs longer.",
)
UNREACHABLE = Loss(
    reason="node_lost",
    explanation="The pod is being deleted, and its node does not confirm that it has ended: the node is unreachable",
    hint="Submit the job again. The adapter may run until the node is back or, if it is gone for good, deleted (kubectl delete node).",
)
NODE_GONE = Loss(
    reason="node_lost",
    explanation="The pod is gone, and so is its node",
    hint=RESUBMIT,
)
NAMESPACE_GONE = Loss(
    reason="namespace_gone",
    explanation="The namespace of the Job was deleted",
    hint="Nothing of the benchmark is left. Create the namespace and its role bindings again, then submit the job again.",
)
RIGHTS_LOST = Loss(
    reason="rights_lost",
    explanation="The server may no longer read the Jobs of the namespace",
    hint="Bind the server's role in the namespace again, or create the namespace again if it was deleted. Until then, the Job may still run; its result counts if it arrives.",
)
NO_POD = Loss(
    reason="pod_lost",
    explanation="The pod is gone and left no exit status",
    hint="It was deleted, or its node is gone; submit the job again.",
)
DISAPPEARED = Loss(
    reason="job_disappeared",
    explanation="The Job is gone from the cluster before it reported a result",
    hint="It was deleted, or it ended while no server was running; submit the job again.",
)
INIT_FAILED = Loss(
    reason="test_data_failed",
    explanation="The test data could not be fetched",
    hint="Check test_data_ref and its secret.",
)
SIDECAR_FAILED = Loss(
    reason="sidecar_failed",
    explanation="The sidecar exited with code {code}",
    hint="Check the section 'sidecar' of the server's configuration.",
)


def exit_for(loss: Loss, detail: str = "", *, lost: bool = False, code: int | None = None) -> Exit:
    """Return the exit for a loss, with its explanation and hint."""
    text = loss.explanation.format(code=code)
    if detail:
        text += f": {detail.strip().rstrip('.')}"
    return Exit(code=code, reason=loss.reason, message=text, hint=loss.hint, lost=lost)


def exit_of_job(job: Job, pods: list[Pod]) -> Exit | None:
    """Return the exit of a finished Job; None for one that is not finished."""
    outcome = job.outcome
    if outcome is None:
        return None
    pod = max(pods, key=lambda pod: pod.metadata.creation_timestamp or "", default=None)
    if outcome.type == "Complete":
        return Exit(code=0)
    if outcome.reason == "DeadlineExceeded":
        return exit_for(DEADLINE)
    if pod is None:
        return exit_for(NO_POD, outcome.message or "", lost=True)
    return _failure(pod) or exit_for(NO_POD, outcome.message or "", lost=True)


def disruption_for(reason: str) -> Loss:
    """Return what a reason of the condition ``DisruptionTarget`` means."""
    return DISRUPTIONS.get(reason, DISRUPTIONS["EvictionByEvictionAPI"])


def _failure(pod: Pod) -> Exit | None:
    """Return why a pod failed: a disruption, else the container that failed."""
    status = pod.status
    if status.reason == "Evicted":
        return exit_for(EVICTED, status.message or "")
    disruption = pod.disruption
    if disruption is not None:
        return exit_for(disruption_for(disruption.reason or ""), disruption.message or "")
    adapter = _terminated(pod.container(ADAPTER))
    if adapter is not None and (adapter.exit_code != 0 or adapter.reason == "OOMKilled"):
        return _adapter_exit(adapter)
    init = _terminated(pod.container(INIT))
    if init is not None and init.exit_code != 0:
        return exit_for(INIT_FAILED, init.message or f"exit code {init.exit_code}")
    sidecar = _terminated(pod.container(SIDECAR))
    if sidecar is not None and sidecar.exit_code != 0:
        return exit_for(SIDECAR_FAILED, sidecar.message or "", code=sidecar.exit_code)
    return Exit(code=adapter.exit_code) if adapter is not None else None


def _adapter_exit(ended: Terminated) -> Exit:
    message = (ended.message or "").strip()
    if ended.reason == "OOMKilled":
        return exit_for(OUT_OF_MEMORY, message)
    if ended.reason in ("ContainerCannotRun", "StartError"):
        return exit_for(CANNOT_START, message or f"exit code {ended.exit_code}")
    name = signal_name(ended.signal or ended.exit_code - 128)
    if name:
        text = f"The adapter's container was terminated by {name} (exit code {ended.exit_code})"
        hint = "It was stopped, its node shut down, or it crashed; see the log."
        return Exit(
            signal=name, reason="adapter_killed", message=f"{text}: {message}" if message else text, hint=hint
        )
    return Exit(code=ended.exit_code, message=message)


def find_trouble(pod: Pod) -> tuple[Trouble, ContainerStatus] | None:
    """Return the first container in trouble."""
    for container in pod.containers:
        waiting = container.state.waiting if container.state else None
        for trouble in WAITING:
            if waiting is not None and waiting.reason in trouble.kubelet_reasons:
                return trouble, container
        # Between two crashes it runs for a moment, but the adapter still waits for it.
        if container.restart_count and pod.status.phase == "Pending":
            return CRASHES, container
    return None


def explain(trouble: Trouble, container: ContainerStatus) -> str:
    """Return the explanation without full stop, with the kubelet's message."""
    waiting = container.state.waiting if container.state else None
    text = trouble.explanation.format(container=container.name, reason=waiting.reason if waiting else "")
    message = (waiting.message if waiting else "") or ""
    last = _terminated(container, last=True)
    if last is not None and trouble.reason == "container_crashes":
        message = last.message or f"exit code {last.exit_code}"
    return f"{text}: {message.strip().rstrip('.')}" if message.strip() else text


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGKILL`` for 9; empty if there is no such signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _terminated(container: ContainerStatus | None, *, last: bool = False) -> Terminated | None:
    if container is None:
        return None
    state = container.last_state if last else container.state
    return state.terminated if state is not None else None
