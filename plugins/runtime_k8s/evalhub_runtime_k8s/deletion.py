"""Deleting a benchmark's or a whole evaluation's objects, until there are none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Struct

from evalhub_runtime_k8s.api_resources import CONFIG_MAPS, JOBS, SECRETS, Resource
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.handles import JobHandle
from evalhub_runtime_k8s.object_status import Metadata
from evalhub_server.plugins import RuntimeUnavailable

log = structlog.get_logger()

POLICIES = {JOBS: "Foreground", CONFIG_MAPS: "", SECRETS: "Foreground"}
"""How each kind is deleted: a Job only after its pods, so that it is there as long as anything of it runs."""

FIRST_LOOK_S = 0.1
MOST_BETWEEN_LOOKS_S = 1.0
ROUNDS_AGAINST_NEWCOMERS = 10


class Named(Struct, frozen=True):
    """What is read of an object that is only to be deleted."""

    metadata: Metadata = Metadata()


Found = list[tuple[Resource, Metadata]]


async def delete_benchmark(api: KubernetesApi, handle: JobHandle, patience_s: float) -> None:
    """Delete the objects of one attempt; see :func:`_delete_all`."""

    async def look() -> Found:
        found: Found = []
        for resource, name in (
            (JOBS, handle.job),
            (CONFIG_MAPS, handle.config_map),
            (SECRETS, handle.secret),
        ):
            body = await api.find(resource, handle.namespace, name)
            if body is not None:
                ending = body["metadata"].get("deletionTimestamp")
                found.append((resource, Metadata(name=name, deletion_timestamp=ending)))
        return found

    await _delete_all(api, handle.namespace, look, patience_s)


async def delete_evaluation(api: KubernetesApi, namespace: str, selector: str, patience_s: float) -> None:
    """Delete everything with these labels; see :func:`_delete_all`."""

    async def look() -> Found:
        found: Found = []
        for resource in POLICIES:
            things, _ = await api.list(resource, namespace, selector, Named)
            found += [(resource, thing.metadata) for thing in things]
        return found

    await _delete_all(api, namespace, look, patience_s)


async def _delete_all(
    api: KubernetesApi, namespace: str, look: Callable[[], Awaitable[Found]], patience_s: float
) -> None:
    """Delete what ``look`` finds, again and again until it finds nothing.

    Returns also when all that is left is being deleted, which nothing can take back, and ``patience_s`` is over: a pod
    may take its time to end. Raises :class:`RuntimeUnavailable` if objects keep appearing, or nobody answers.
    """
    until = time.monotonic() + patience_s
    pause_s = FIRST_LOOK_S
    rounds = 0
    while found := await look():
        remaining = [(resource, thing) for resource, thing in found if not thing.deletion_timestamp]
        for resource, thing in remaining:
            await api.delete(resource, namespace, thing.name, POLICIES[resource])
        rounds += bool(remaining)
        if rounds > ROUNDS_AGAINST_NEWCOMERS:
            names = ", ".join(thing.name for _, thing in remaining)
            raise RuntimeUnavailable(f"in namespace '{namespace}' these do not go: {names}", "not_deleted")
        if not remaining and time.monotonic() >= until:
            names = [thing.name for _, thing in found]
            log.info("still ending, and cannot be stopped from it", namespace=namespace, objects=names)
            return
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, MOST_BETWEEN_LOOKS_S)
