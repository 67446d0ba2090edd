"""CPU, memory and accelerators of a container."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from evalhub_runtime_k8s.quantities import quantity
from evalhub_runtime_k8s.settings import Hardening
from evalhub_server.plugins import Amounts, Json, LaunchError, Resources

SIDECAR_DEFAULTS = Resources(
    requests=Amounts(cpu="100m", memory="128Mi"), limits=Amounts(cpu="200m", memory="256Mi")
)
INIT = Resources(requests=Amounts(cpu="100m", memory="128Mi"), limits=Amounts(cpu="500m", memory="512Mi"))


class Demand(Struct, kw_only=True, frozen=True):
    """What the adapter gets. An empty limit is none of its own, ``gpu`` is the name of an extended resource."""

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    gpu: str = ""
    gpu_count: int = 0


def container_resources(resources: Resources, defaults: Resources) -> Json:
    """``resources`` with what it leaves out from ``defaults``."""
    return {
        name: {
            "cpu": getattr(resources, name).cpu or getattr(defaults, name).cpu,
            "memory": getattr(resources, name).memory or getattr(defaults, name).memory,
        }
        for name in ("requests", "limits")
    }


def adapter_resources(demand: Demand, hardening: Hardening) -> Json:
    """Requests and limits. Raises :class:`LaunchError` for what is no quantity and for a request above its limit."""
    requests = {"cpu": demand.cpu_request, "memory": demand.memory_request}
    limits = {"cpu": demand.cpu_limit, "memory": demand.memory_limit}
    for name, request in requests.items():
        limit = limits[name]
        if _checked(f"{name} request", request) > _checked(f"{name} limit", limit):
            raise LaunchError(
                f"{name}: the request {request} is above the limit {limit}; raise the limit or lower the request."
            )
    if demand.gpu and demand.gpu_count > 0:
        requests[demand.gpu] = limits[demand.gpu] = str(demand.gpu_count)
    if hardening.ephemeral_storage_request:
        requests["ephemeral-storage"] = hardening.ephemeral_storage_request
    if hardening.ephemeral_storage_limit:
        limits["ephemeral-storage"] = hardening.ephemeral_storage_limit
    return {"requests": requests, "limits": limits}


def _checked(what: str, text: str) -> Decimal:
    """Like :func:`quantity`; raises :class:`LaunchError` that names ``what``."""
    try:
        return quantity(text)
    except ValueError as error:
        raise LaunchError(f"{what}: {error}") from None
