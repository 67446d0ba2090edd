"""CPU, memory and accelerators of a container."""

from __future__ import annotations

import re
from decimal import Decimal

from msgspec import Struct

from evalhub_server.errors import LaunchError
from evalhub_server.models.common import Json
from evalhub_server.plugins.sidecar import Amounts, Resources

# The grammar of resource.Quantity: a number with a decimal exponent, or with a decimal or binary suffix.
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?")
_FACTORS = {
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}  # fmt: skip

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


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity as a number. Raises :class:`ValueError`."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    number, suffix, exponent = match.groups()
    return Decimal(number) * _FACTORS[suffix or ""] * Decimal(10) ** int(exponent or 0)


def checked_quantity(what: str, text: str) -> Decimal:
    """Like :func:`quantity`, of 0 or more; raises :class:`LaunchError` that names ``what``."""
    try:
        amount = quantity(text)
    except ValueError:
        amount = Decimal(-1)
    if amount < 0:
        raise LaunchError(f"{what}: '{text}' is not a Kubernetes quantity; write for example 500m, 2 or 4Gi.")
    return amount


def container_resources(resources: Resources, defaults: Resources) -> Json:
    """``resources`` with what it leaves out from ``defaults``."""
    return {
        name: {
            "cpu": getattr(resources, name).cpu or getattr(defaults, name).cpu,
            "memory": getattr(resources, name).memory or getattr(defaults, name).memory,
        }
        for name in ("requests", "limits")
    }


def adapter_resources(demand: Demand) -> Json:
    """Requests and limits. Raises :class:`LaunchError` for what is no quantity and for a request above its limit."""
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for name in ("cpu", "memory"):
        request, limit = getattr(demand, f"{name}_request"), getattr(demand, f"{name}_limit")
        if checked_quantity(f"{name} request", request) > checked_quantity(f"{name} limit", limit):
            raise LaunchError(
                f"{name}: the request {request} is above the limit {limit}; raise the limit or lower the request."
            )
        requests[name], limits[name] = request, limit
    if demand.gpu and demand.gpu_count > 0:
        requests[demand.gpu] = limits[demand.gpu] = str(demand.gpu_count)
    return {"requests": requests, "limits": limits}
