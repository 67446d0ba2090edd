"""Hardware and queue of a benchmark, merged from provider, request and hardware profile."""

from __future__ import annotations

from typing import Any, cast

from msgspec import UNSET, Struct, UnsetType

from evalhub_runtime_k8s.resources import Demand, quantity
from evalhub_server.plugins import (
    ApiError,
    HardwareConfig,
    Json,
    KubernetesGpu,
    KubernetesRuntime,
    Queue,
    ResourceAmount,
    problems,
)

PROFILE_GROUP = "infrastructure.opendatahub.io"
PROFILE_VERSION = "v1"
PROFILE_PLURAL = "hardwareprofiles"
DISABLED = "opendatahub.io/disabled"

CPU = ResourceAmount(request="250m", limit="1")
MEMORY = ResourceAmount(request="512Mi", limit="2Gi")
NO_PRIORITY = "None"


class HardwareProfile(Struct, kw_only=True, frozen=True):
    """Contents of a ``HardwareProfile`` object; empty where it sets nothing."""

    cpu: ResourceAmount | None = None
    memory: ResourceAmount | None = None
    gpu: str = ""
    gpu_count: int = 0
    on_nodes: bool = False
    node_selector: dict[str, str] = {}
    tolerations: tuple[Json, ...] = ()
    queue: str = ""
    priority: str = ""


class Placement(Struct, kw_only=True, frozen=True):
    """Requirements of the pod. With a queue there are no node constraints: the queue's resource flavour has them."""

    demand: Demand
    node_selector: dict[str, str] = {}
    tolerations: tuple[Json, ...] = ()
    queue: str = ""
    priority: str = ""


def profile_name(hardware: HardwareConfig | None) -> str:
    """Return the name of the hardware profile, or an empty string."""
    return hardware.hardware_profile_name if hardware else ""


def read_profile(name: str, obj: Json) -> HardwareProfile:
    """Convert an API object. Raises ``hardware_profile_disabled`` and ``hardware_profile_invalid`` (400)."""
    annotations = _map(name, obj.get("metadata"), "metadata").get("annotations")
    if str(_map(name, annotations, "metadata.annotations").get(DISABLED, "")).lower() == "true":
        raise problems.hardware_profile_disabled(name)
    spec = _map(name, obj.get("spec"), "spec")
    fields: dict[str, Any] = {}
    for item in _list(name, spec.get("identifiers"), "spec.identifiers"):
        fields |= _identifier(name, _map(name, item, "spec.identifiers"))
    return HardwareProfile(
        **fields, **_scheduling(name, _map(name, spec.get("scheduling"), "spec.scheduling"))
    )


def _identifier(name: str, item: Json) -> dict[str, Any]:
    identifier, kind = str(item.get("identifier", "")), str(item.get("resourceType", ""))
    if not identifier:
        raise _invalid(name, "an identifier has no name")
    default, most = item.get("defaultCount"), item.get("maxCount")
    if default in (None, ""):
        raise _invalid(name, f"the identifier '{identifier}' has no defaultCount")
    for key in ("cpu", "memory"):
        if kind.lower() == key or identifier == key:
            amount = ResourceAmount(
                request=_amount(name, identifier, default),
                limit="" if most in (None, "") else _amount(name, identifier, most),
            )
            return {key: amount}
    text = str(default).strip()
    if isinstance(default, bool) or not text.isdecimal():
        raise _invalid(name, f"the defaultCount '{default}' of '{identifier}' is not a whole number")
    return {"gpu": identifier, "gpu_count": int(text)}


def _amount(name: str, identifier: str, value: Any) -> str:
    text = str(value).strip()
    try:
        quantity(text)
    except ValueError:
        raise _invalid(name, f"'{value}' of '{identifier}' is not a quantity") from None
    return text


def _scheduling(name: str, scheduling: Json) -> dict[str, Any]:
    kind = str(scheduling.get("type") or "")
    if kind == "Queue":
        kueue = _map(name, scheduling.get("kueue"), "spec.scheduling.kueue")
        queue = str(kueue.get("localQueueName") or "").strip()
        if not queue:
            raise _invalid(name, "scheduling of type Queue names no localQueueName")
        priority = str(kueue.get("priorityClass") or "").strip()
        return {"queue": queue, "priority": "" if priority == NO_PRIORITY else priority}
    if kind in ("Node", ""):
        node = _map(name, scheduling.get("node"), "spec.scheduling.node")
        tolerations = [
            _map(name, toleration, "spec.scheduling.node.tolerations")
            for toleration in _list(name, node.get("tolerations"), "spec.scheduling.node.tolerations")
        ]
        selector = _map(name, node.get("nodeSelector"), "spec.scheduling.node.nodeSelector")
        return {
            "on_nodes": kind == "Node",
            "node_selector": {key: str(value) for key, value in selector.items()},
            "tolerations": tuple(tolerations),
        }
    raise _invalid(name, f"the scheduling type '{kind}' is neither Node nor Queue")


def _map(name: str, value: Any, path: str) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(name, f"{path} is not a map")
    return cast("Json", value)


def _list(name: str, value: Any, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _invalid(name, f"{path} is not a list")
    return cast("list[Any]", value)


def _invalid(name: str, reason: str) -> ApiError:
    return problems.hardware_profile_invalid(name, reason)


def placement(
    provider: KubernetesRuntime,
    hardware: HardwareConfig | None,
    profile: HardwareProfile | None,
    job_queue: Queue | None,
) -> Placement:
    """Return the placement: from the profile or else the request, then the provider, then the defaults.

    The queue is the profile's, else that of ``hardware``, else the job's (deprecated).
    """
    direct = hardware or HardwareConfig()
    requested = profile or HardwareProfile(cpu=direct.cpu, memory=direct.memory)
    provider_gpu = _given(provider.gpu, KubernetesGpu())
    gpu, count = _given(provider_gpu.resource, "").strip(), provider_gpu.count
    node_selector: dict[str, str] = _given(provider_gpu.node_selector, {}) if gpu and count > 0 else {}
    if profile is not None and profile.gpu:
        gpu, count = profile.gpu, profile.gpu_count
    elif direct.gpu is not None:
        other = direct.gpu.name.strip()
        if other and other != gpu:
            gpu, node_selector = other, {}  # the provider's node selector is for its own accelerator
        count = direct.gpu.count
    if requested.on_nodes:
        node_selector = requested.node_selector
    queue = requested.queue or _queue_name(direct.queue) or _queue_name(job_queue)
    cpu_request, cpu_limit = _pair(requested.cpu, provider.cpu_request, provider.cpu_limit, CPU)
    memory_request, memory_limit = _pair(
        requested.memory, provider.memory_request, provider.memory_limit, MEMORY
    )
    return Placement(
        demand=Demand(
            cpu_request=cpu_request,
            cpu_limit=cpu_limit,
            memory_request=memory_request,
            memory_limit=memory_limit,
            gpu=gpu,
            gpu_count=count,
        ),
        node_selector={} if queue else dict(node_selector),
        tolerations=() if queue else requested.tolerations,
        queue=queue,
        priority=requested.priority if queue else "",
    )


def _queue_name(queue: Queue | None) -> str:
    return queue.name.strip() if queue else ""


def _given(value: Any, default: Any) -> Any:
    return default if value is UNSET else value


def _pair(
    requested: ResourceAmount | None,
    request: str | UnsetType,
    limit: str | UnsetType,
    default: ResourceAmount,
) -> tuple[str, str]:
    """Return request and limit, each from the first source that sets it: ``requested``, the provider, the default.

    If the request exceeds the limit, the value from the later source is replaced, since the API would refuse both.
    """
    requested = requested or ResourceAmount()
    requests = [requested.request.strip(), _given(request, "").strip(), default.request]
    limits = [requested.limit.strip(), _given(limit, "").strip(), default.limit]
    request_from = next(rank for rank, text in enumerate(requests) if text)
    limit_from = next(rank for rank, text in enumerate(limits) if text)
    chosen = requests[request_from], limits[limit_from]
    try:
        fits = quantity(chosen[0]) <= quantity(chosen[1])
    except ValueError:
        return chosen  # the container builder refuses it with its key
    if fits or request_from == limit_from:
        return chosen
    return (chosen[0], chosen[0]) if request_from < limit_from else (chosen[1], chosen[1])
