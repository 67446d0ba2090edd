"""CPU, memory and accelerators of a container, and Kubernetes quantities."""

from __future__ import annotations

import re
from decimal import Decimal

from msgspec import Struct

from evalhub_runtime_k8s.settings import Hardening
from evalhub_server.plugins import Amounts, Json, LaunchError, Resources

# The grammar of resource.Quantity without a minus: a number with a decimal exponent, or with a decimal or binary suffix.
_QUANTITY = re.compile(r"(\+?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?")
_FACTORS = {
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}  # fmt: skip


def quantity(text: str) -> Decimal:
    """Parse a quantity of 0 or more. Raises :class:`ValueError` with examples of valid ones."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a Kubernetes quantity; write for example 500m, 2 or 4Gi.")
    number, suffix, exponent = match.groups()
    return Decimal(number) * _FACTORS[suffix or ""] * Decimal(10) ** int(exponent or 0)


SIDECAR_DEFAULTS = Resources(
    requests=Amounts(cpu="100m", memory="128Mi"), limits=Amounts(cpu="200m", memory="256Mi")
)
INIT = Resources(requests=Amounts(cpu="100m", memory="128Mi"), limits=Amounts(cpu="500m", memory="512Mi"))


class Demand(Struct, kw_only=True, frozen=True):
    """Resources of the adapter. An empty limit means none; ``gpu`` is the name of an extended resource."""

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    gpu: str = ""
    gpu_count: int = 0


def container_resources(resources: Resources, defaults: Resources) -> Json:
    """Return ``resources``, completed from ``defaults``."""
    return {
        name: {
            "cpu": getattr(resources, name).cpu or getattr(defaults, name).cpu,
            "memory": getattr(resources, name).memory or getattr(defaults, name).memory,
        }
        for name in ("requests", "limits")
    }


def adapter_resources(demand: Demand, hardening: Hardening) -> Json:
    """Return requests and limits. Raises :class:`LaunchError` for an invalid quantity or a request above its limit."""
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


def _checked(label: str, text: str) -> Decimal:
    """Like :func:`quantity`, but raises :class:`LaunchError` that starts with ``label``."""
    try:
        return quantity(text)
    except ValueError as error:
        raise LaunchError(f"{label}: {error}") from None
