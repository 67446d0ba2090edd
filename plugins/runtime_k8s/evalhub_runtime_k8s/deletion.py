"""Deletion of the objects of a benchmark or of a whole evaluation, kind by kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from msgspec import Struct

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import CONFIG_MAPS, JOBS, SECRETS, Resource
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.handles import JobHandle
from evalhub_runtime_k8s.object_status import Metadata
from evalhub_server.plugins import Backoff, RuntimeUnavailable

log = structlog.get_logger()

POLICIES = {JOBS: "Foreground", CONFIG_MAPS: "", SECRETS: "Foreground"}
"""Propagation policy of each kind, in the order of deletion: a Job is deleted after its pods, so it exists as long as one
of them runs."""

RETRY = Backoff(first_s=0.1, max_s=1.0)
MAX_ROUNDS = 10


class Named(Struct, frozen=True):
    """An object of which only the metadata are read."""

    metadata: Metadata = Metadata()


Find = Callable[[], Awaitable[list[Metadata]]]
RefusedKinds = Mapping[Resource, ApiRefusal]
"""The kinds of which objects may be left, each with the first refusal of the API."""


async def delete_benchmark(api: KubernetesApi, handle: JobHandle, timeout_s: float) -> RefusedKinds:
    """Delete the objects of one attempt; see :func:`_delete_all`."""

    def finder(resource: Resource, name: str) -> Find:
        async def find() -> list[Metadata]:
            body = await api.find(resource, handle.namespace, name)
            if body is None:
                return []
            return [Metadata(name=name, deletion_timestamp=body["metadata"].get("deletionTimestamp"))]

        return find

    names = {JOBS: handle.job, CONFIG_MAPS: handle.config_map, SECRETS: handle.secret}
    finders = {resource: finder(resource, name) for resource, name in names.items()}
    return await _delete_all(api, handle.namespace, finders, timeout_s)


async def delete_evaluation(
    api: KubernetesApi, namespace: str, selector: str, timeout_s: float, listed: asyncio.Event
) -> RefusedKinds:
    """Delete everything with these labels; see :func:`_delete_all`. Sets ``listed`` when deletions begin."""

    def finder(resource: Resource) -> Find:
        async def find() -> list[Metadata]:
            objects, _ = await api.list(resource, namespace, selector, Named)
            return [thing.metadata for thing in objects]

        return find

    finders = {resource: finder(resource) for resource in POLICIES}
    return await _delete_all(api, namespace, finders, timeout_s, listed)


async def _delete_all(
    api: KubernetesApi,
    namespace: str,
    finders: Mapping[Resource, Find],
    timeout_s: float,
    listed: asyncio.Event | None = None,
) -> RefusedKinds:
    """Delete the objects that the finders return until there are none.

    A kind that is refused does not keep the others: it is skipped from then on, and returned. Also returns when every
    remaining object is being deleted and ``timeout_s`` has passed: a pod may take long to terminate. Raises
    :class:`RuntimeUnavailable` if objects keep appearing or the API is unavailable.
    """
    until = time.monotonic() + timeout_s
    delays = RETRY.delays()
    refused: dict[Resource, ApiRefusal] = {}
    rounds = 0
    while True:
        found: dict[Resource, list[Metadata]] = {}
        for resource in [resource for resource in finders if resource not in refused]:
            try:
                found[resource] = await finders[resource]()
            except ApiRefusal as error:
                refused[resource] = error
        if listed is not None:
            listed.set()
        remaining: list[str] = []
        terminating: list[str] = []
        for resource, things in found.items():
            names = [thing.name for thing in things if not thing.deletion_timestamp]
            try:
                for name in names:
                    await api.delete(resource, namespace, name, POLICIES[resource])
            except ApiRefusal as error:
                refused[resource] = error
                continue
            remaining += names
            terminating += [thing.name for thing in things if thing.deletion_timestamp]
        if not remaining and not terminating:
            return refused
        rounds += bool(remaining)
        if rounds > MAX_ROUNDS:
            raise RuntimeUnavailable(
                f"objects in namespace '{namespace}' cannot be deleted: {', '.join(remaining)}", "not_deleted"
            )
        if not remaining and time.monotonic() >= until:
            log.info("Objects still terminating", namespace=namespace, objects=terminating)
            return refused
        await asyncio.sleep(next(delays))


def left_over(namespace: str, selector: str, refused: RefusedKinds) -> str:
    """A sentence about the objects that may be left because their deletion was refused; empty if there are none."""
    if not refused:
        return ""
    kinds = ", ".join(f"{resource.kind}s" for resource in refused)
    plurals = ",".join(resource.plural for resource in refused)
    cause = next(iter(refused.values()))
    return (
        f"{kinds} may be left in namespace '{namespace}': {cause}. "
        f"Remove them with: kubectl -n {namespace} delete {plurals} -l {selector}"
    )
