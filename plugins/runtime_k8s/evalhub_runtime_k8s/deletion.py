"""Deletion of the objects of a benchmark or of a whole evaluation."""

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
from evalhub_server.plugins import Backoff, RuntimeUnavailable

log = structlog.get_logger()

POLICIES = {JOBS: "Foreground", CONFIG_MAPS: "", SECRETS: "Foreground"}
"""Propagation policy of each kind: a Job is deleted after its pods, so it exists as long as one of them runs."""

RETRY = Backoff(first_s=0.1, max_s=1.0)
MAX_ROUNDS = 10


class Named(Struct, frozen=True):
    """An object of which only the metadata are read."""

    metadata: Metadata = Metadata()


Found = list[tuple[Resource, Metadata]]


async def delete_benchmark(api: KubernetesApi, handle: JobHandle, timeout_s: float) -> None:
    """Delete the objects of one attempt; see :func:`_delete_all`."""

    async def find_objects() -> Found:
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

    await _delete_all(api, handle.namespace, find_objects, timeout_s)


async def delete_evaluation(api: KubernetesApi, namespace: str, selector: str, timeout_s: float) -> None:
    """Delete everything with these labels; see :func:`_delete_all`."""

    async def find_objects() -> Found:
        found: Found = []
        for resource in POLICIES:
            objects, _ = await api.list(resource, namespace, selector, Named)
            found += [(resource, thing.metadata) for thing in objects]
        return found

    await _delete_all(api, namespace, find_objects, timeout_s)


async def _delete_all(
    api: KubernetesApi, namespace: str, find_objects: Callable[[], Awaitable[Found]], timeout_s: float
) -> None:
    """Delete the objects that ``find_objects`` returns until there are none.

    Also returns when every remaining object is being deleted and ``timeout_s`` has passed: a pod may take long to
    terminate. Raises :class:`RuntimeUnavailable` if objects keep appearing or the API is unavailable.
    """
    until = time.monotonic() + timeout_s
    delays = RETRY.delays()
    rounds = 0
    while found := await find_objects():
        remaining = [(resource, thing) for resource, thing in found if not thing.deletion_timestamp]
        for resource, thing in remaining:
            await api.delete(resource, namespace, thing.name, POLICIES[resource])
        rounds += bool(remaining)
        if rounds > MAX_ROUNDS:
            names = ", ".join(thing.name for _, thing in remaining)
            raise RuntimeUnavailable(
                f"objects in namespace '{namespace}' cannot be deleted: {names}", "not_deleted"
            )
        if not remaining and time.monotonic() >= until:
            names = [thing.name for _, thing in found]
            log.info("Objects still terminating", namespace=namespace, objects=names)
            return
        await asyncio.sleep(next(delays))
