"""Which hardware a benchmark gets and where it waits for it: provider, request and hardware profile put together."""

from __future__ import annotations

from typing import Any, cast

from msgspec import UNSET, Struct, UnsetType

from evalhub_runtime_k8s.quantities import quantity
from evalhub_runtime_k8s.resources import Demand
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
    """What a ``HardwareProfile`` object says; empty where it says nothing."""

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
    """What the pod asks for. With a queue it names no nodes: the queue's resource flavour does."""

    demand: Demand
    node_selector: dict[str, str] = {}
    tolerations: tuple[Json, ...] = ()
    queue: str = ""
    priority: str = ""


def profile_name(hardware: HardwareConfig | None) -> str:
    """The profile to read before a benchmark can be placed, or empty."""
    return hardware.hardware_profile_name if hardware else ""


def read_profile(name: str, obj: Json) -> HardwareProfile:
    """Read an object of the API. Raises ``hardware_profile_disabled`` and ``hardware_profile_invalid`` (400)."""
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


def _map(name: str, value: Any, where: str) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(name, f"{where} is not a map")
    return cast("Json", value)


def _list(name: str, value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _invalid(name, f"{where} is not a list")
    return cast("list[Any]", value)


def _invalid(name: str, why: str) -> ApiError:
    return problems.hardware_profile_invalid(name, why)


def placement(
    provider: KubernetesRuntime,
    hardware: HardwareConfig | None,
    profile: HardwareProfile | None,
    job_queue: Queue | None,
) -> Placement:
    """What the benchmark gets: the profile's values or the request's, else the provider's, else the defaults.

    The queue is the profile's, else that of ``hardware``, else the job's own (deprecated).
    """
    direct = hardware or HardwareConfig()
    asked = profile or HardwareProfile(cpu=direct.cpu, memory=direct.memory)
    own = _given(provider.gpu, KubernetesGpu())
    gpu, count = _given(own.resource, "").strip(), own.count
    node_selector: dict[str, str] = _given(own.node_selector, {}) if gpu and count > 0 else {}
    if profile is not None and profile.gpu:
        gpu, count = profile.gpu, profile.gpu_count
    elif direct.gpu is not None:
        other = direct.gpu.name.strip()
        if other and other != gpu:
            gpu, node_selector = other, {}  # the provider's nodes have its own kind of accelerator
        count = direct.gpu.count
    if asked.on_nodes:
        node_selector = asked.node_selector
    queue = asked.queue or _queue_name(direct.queue) or _queue_name(job_queue)
    cpu_request, cpu_limit = _pair(asked.cpu, provider.cpu_request, provider.cpu_limit, CPU)
    memory_request, memory_limit = _pair(asked.memory, provider.memory_request, provider.memory_limit, MEMORY)
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
        tolerations=() if queue else asked.tolerations,
        queue=queue,
        priority=asked.priority if queue else "",
    )


def _queue_name(queue: Queue | None) -> str:
    return queue.name.strip() if queue else ""


def _given(value: Any, default: Any) -> Any:
    return default if value is UNSET else value


def _pair(
    asked: ResourceAmount | None, request: str | UnsetType, limit: str | UnsetType, default: ResourceAmount
) -> tuple[str, str]:
    """Request and limit, each of the first who names it: ``asked``, the provider, the default.

    If that makes a request above its limit, the one that was named later gives way, since the API would refuse both.
    """
    asked = asked or ResourceAmount()
    requests = [asked.request.strip(), _given(request, "").strip(), default.request]
    limits = [asked.limit.strip(), _given(limit, "").strip(), default.limit]
    request_from = next(rank for rank, text in enumerate(requests) if text)
    limit_from = next(rank for rank, text in enumerate(limits) if text)
    chosen = requests[request_from], limits[limit_from]
    try:
        fits = quantity(chosen[0]) <= quantity(chosen[1])
    except ValueError:
        return chosen  # refused by name where the container is built
    if fits or request_from == limit_from:
        return chosen
    return (chosen[0], chosen[0]) if request_from < limit_from else (chosen[1], chosen[1])
