"""Why a benchmark waits, and what ended it: tables from what the cluster shows to a reason, a text and a hint.

The reasons are a stable vocabulary: they become the ``message_code`` of a benchmark's error or warning.
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
    """A state that a container does not leave by itself, or seldom.

    ``patience`` names the setting that says how long it may last. ``explanation`` may use ``{container}`` and
    ``{reason}``.
    """

    words: frozenset[str]
    reason: str
    patience: str
    explanation: str
    hint: str


CRASHES = Trouble(
    words=frozenset({"CrashLoopBackOff"}),
    reason="container_crashes",
    patience="image_pull_timeout",
    explanation="The container '{container}' ends again and again",
    hint="See its log with kubectl; for the sidecar, check the section 'sidecar' of the server's configuration.",
)
WAITING = (
    CRASHES,
    Trouble(
        words=frozenset({"ImagePullBackOff", "ErrImagePull", "ImageInspectError", "RegistryUnavailable"}),
        reason="image_pull_failed",
        patience="image_pull_timeout",
        explanation="The image of the container '{container}' cannot be pulled ({reason})",
        hint="Check runtime.k8s.image of the provider, and that the namespace may pull it.",
    ),
    Trouble(
        words=frozenset({"InvalidImageName", "ErrImageNeverPull"}),
        reason="image_invalid",
        patience="container_error_timeout",
        explanation="The container '{container}' has an image that cannot be used ({reason})",
        hint="Correct runtime.k8s.image of the provider.",
    ),
    Trouble(
        words=frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}),
        reason="container_config_error",
        patience="container_error_timeout",
        explanation="The container '{container}' cannot be made ({reason})",
        hint="Check that the secrets and config maps that the job names exist in its namespace, and the provider's entrypoint.",
    ),
)


class Loss(Struct, frozen=True, kw_only=True):
    """A way in which a pod ends that is not its adapter's doing."""

    reason: str
    explanation: str
    hint: str


AGAIN = "Submit the job again; hardening.restart_disrupted lets the cluster do that by itself."
EVICTED = Loss(
    reason="evicted",
    explanation="The node evicted the pod",
    hint="It ran short of memory or disk; raise the provider's requests so that the pod is placed where there is room.",
)
DISRUPTIONS = {
    "PreemptionByScheduler": Loss(
        reason="preempted", explanation="The pod had to give way to one of higher priority", hint=AGAIN
    ),
    "EvictionByEvictionAPI": Loss(
        reason="evicted", explanation="The pod was evicted, as when a node is drained", hint=AGAIN
    ),
    "DeletionByTaintManager": Loss(
        reason="node_lost", explanation="The pod's node did not answer any more", hint=AGAIN
    ),
    "TerminationByKubelet": EVICTED,
    "DeletionByPodGC": Loss(reason="node_lost", explanation="The pod's node is gone", hint=AGAIN),
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
    hint="If it needs longer, raise kubernetes.hardening.deadline.",
)
NO_POD = Loss(
    reason="pod_lost",
    explanation="The pod is gone and left no exit status",
    hint="Somebody deleted it, or its node is gone; submit the job again.",
)
DISAPPEARED = Loss(
    reason="job_disappeared",
    explanation="The Job is gone from the cluster before it reported a result",
    hint="Somebody deleted it, or it ended while no server was there to see it; submit the job again.",
)
INIT_FAILED = Loss(
    reason="test_data_failed",
    explanation="The test data could not be fetched",
    hint="Check test_data_ref and its secret.",
)
SIDECAR_FAILED = Loss(
    reason="sidecar_failed",
    explanation="The sidecar ended with exit code {code}",
    hint="Check the section 'sidecar' of the server's configuration.",
)


def exit_of(loss: Loss, detail: str = "", *, lost: bool = False, code: int | None = None) -> Exit:
    """The loss as an exit whose text and hint say all there is to say."""
    text = loss.explanation.format(code=code)
    if detail:
        text += f": {detail.strip().rstrip('.')}"
    return Exit(code=code, reason=loss.reason, message=text, hint=loss.hint, lost=lost)


def ending(job: Job, pods: list[Pod]) -> Exit | None:
    """What a Job that is over came to; None for one that is not."""
    outcome = job.outcome
    if outcome is None:
        return None
    pod = max(pods, key=lambda pod: pod.metadata.creation_timestamp or "", default=None)
    if outcome.type == "Complete":
        return Exit(code=0)
    if outcome.reason == "DeadlineExceeded":
        return exit_of(DEADLINE)
    if pod is None:
        return exit_of(NO_POD, outcome.message or "", lost=True)
    return _failure(pod) or exit_of(NO_POD, outcome.message or "", lost=True)


def _failure(pod: Pod) -> Exit | None:
    """Why a pod failed: what was done to it, else which of its containers did it."""
    status = pod.status
    if status.reason == "Evicted":
        return exit_of(EVICTED, status.message or "")
    disrupted = pod.condition("DisruptionTarget")
    if disrupted is not None and disrupted.status == "True":
        loss = DISRUPTIONS.get(disrupted.reason or "", DISRUPTIONS["EvictionByEvictionAPI"])
        return exit_of(loss, disrupted.message or "")
    adapter = _terminated(pod.container(ADAPTER))
    if adapter is not None and (adapter.exit_code != 0 or adapter.reason == "OOMKilled"):
        return _adapter_exit(adapter)
    init = _terminated(pod.container(INIT))
    if init is not None and init.exit_code != 0:
        return exit_of(INIT_FAILED, init.message or f"exit code {init.exit_code}")
    sidecar = _terminated(pod.container(SIDECAR))
    if sidecar is not None and sidecar.exit_code != 0:
        return exit_of(SIDECAR_FAILED, sidecar.message or "", code=sidecar.exit_code)
    return Exit(code=adapter.exit_code) if adapter is not None else None


def _adapter_exit(ended: Terminated) -> Exit:
    message = (ended.message or "").strip()
    if ended.reason == "OOMKilled":
        return exit_of(OUT_OF_MEMORY, message)
    if ended.reason in ("ContainerCannotRun", "StartError"):
        return exit_of(CANNOT_START, message or f"exit code {ended.exit_code}")
    name = signal_name(ended.signal or ended.exit_code - 128)
    if name:
        text = f"The adapter's container was ended by {name} (exit code {ended.exit_code})"
        hint = "Somebody stopped it, its node shut down, or it crashed; see the log."
        return Exit(
            signal=name, reason="adapter_killed", message=f"{text}: {message}" if message else text, hint=hint
        )
    return Exit(code=ended.exit_code, message=message)


def trouble_of(pod: Pod) -> tuple[Trouble, ContainerStatus] | None:
    """The first container that waits for what will hardly come."""
    for container in pod.containers:
        waiting = container.state.waiting if container.state else None
        for trouble in WAITING:
            if waiting is not None and waiting.reason in trouble.words:
                return trouble, container
        # Between two crashes it runs for a moment; the adapter waits for it all the same.
        if container.restart_count and pod.status.phase == "Pending":
            return CRASHES, container
    return None


def explained(trouble: Trouble, container: ContainerStatus) -> str:
    """The trouble as a text without a full stop, with what the kubelet says of it."""
    waiting = container.state.waiting if container.state else None
    text = trouble.explanation.format(container=container.name, reason=waiting.reason if waiting else "")
    message = (waiting.message if waiting else "") or ""
    last = _terminated(container, last=True)
    if last is not None and trouble.reason == "container_crashes":
        message = last.message or f"exit code {last.exit_code}"
    return f"{text}: {message.strip().rstrip('.')}" if message.strip() else text


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; empty if there is no such signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _terminated(container: ContainerStatus | None, *, last: bool = False) -> Terminated | None:
    if container is None:
        return None
    state = container.last_state if last else container.state
    return state.terminated if state is not None else None
