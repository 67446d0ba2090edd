"""The reconciler: one task for each namespace derives the state of every workload from its Jobs and pods.

With the right to watch, these are copies that watches keep current, and lists are sent at the start and now and then.
Without it the server polls: two lists for all workloads of a namespace. While the API is unavailable the last known
state is kept, and a notice has the time since when.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import replace

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import JOBS, PODS, Resource
from evalhub_runtime_k8s.client import PAGE, KubernetesApi
from evalhub_runtime_k8s.cluster_state import namespace_is_gone, node_is_lost
from evalhub_runtime_k8s.diagnosis import (
    DISAPPEARED,
    NAMESPACE_GONE,
    NO_POD,
    NODE_GONE,
    RIGHTS_LOST,
    exit_for,
    exit_of_job,
)
from evalhub_runtime_k8s.handles import JobHandle
from evalhub_runtime_k8s.job_status import ABSENT, Assessment, Timeouts, assess
from evalhub_runtime_k8s.object_status import Job, Pod
from evalhub_runtime_k8s.subscription import Subscription
from evalhub_runtime_k8s.throttle import Priority
from evalhub_runtime_k8s.watches import Trigger, Watched
from evalhub_server.plugins import EvalHubError, Exit, Notice

log = structlog.get_logger()

S = TypeVar("S", bound=Struct)
JITTER = 0.3
"""Part of the interval between two lists that is random."""
LONGEST = 0.95
"""Part of the poll interval after which the next poll begins at the latest: an exit is known within the whole."""
MIN_INTERVAL_S = 0.5
"""Least time between two looks, however often something changes."""
NEW_WORKLOAD_S = 5.0
"""Delay of the first look at a new workload: a look for each launch would be most of the requests."""
RESYNC_S = 600.0
"""Interval between lists with live watches, in case that one has missed a change."""
FAILURES_BEFORE_WARNING = 2
MAX_WARNINGS = 1000


class Reconciler:
    """:meth:`following` observes a workload for as long as a caller waits for it. Call :meth:`close` last."""

    def __init__(self, api: KubernetesApi, selector: str, poll_interval_s: float, timeouts: Timeouts) -> None:
        self._api = api
        self._selector = selector
        self._poll_interval_s = poll_interval_s
        self._timeouts = timeouts
        self._namespaces: dict[str, _Namespace] = {}
        self._warnings: OrderedDict[str, str] = OrderedDict()

    def warned(self, job: str, texts: tuple[str, ...]) -> None:
        """Keep the API's warnings about a Job: they explain it if no pod appears."""
        self._warnings[job] = "; ".join(texts)
        while len(self._warnings) > MAX_WARNINGS:
            self._warnings.popitem(last=False)

    @asynccontextmanager
    async def subscribed(self, handle: JobHandle) -> AsyncGenerator[Subscription]:
        namespace = self._namespaces.get(handle.namespace)
        if namespace is None:
            namespace = _Namespace(
                self._api, handle.namespace, self._selector, self._poll_interval_s, self._timeouts
            )
            self._namespaces[handle.namespace] = namespace
        subscription = namespace.add(handle)
        subscription.warning = self._warnings.get(handle.job, "")
        try:
            yield subscription
        finally:
            if namespace.drop(subscription):
                self._namespaces.pop(handle.namespace, None)

    def stopped(self, handle: JobHandle) -> None:
        """Record that the workload was stopped on request."""
        namespace = self._namespaces.get(handle.namespace)
        if namespace is not None:
            text = "its Job was deleted on request"
            namespace.end(handle, Exit(signal="SIGTERM", reason="stopped", message=text))

    async def judge(self, handle: JobHandle, job: Job) -> None:
        """Derive the exit from a Job that has just been read, instead of with the next list."""
        namespace = self._namespaces.get(handle.namespace)
        if namespace is None:
            return
        try:
            pods, _ = await self._api.list(PODS, handle.namespace, f"job-name={handle.job}", Pod, tries=1)
            exit_ = exit_of_job(job, pods)
        except EvalHubError as error:
            text = f"The Job has ended; its pods cannot be read: {error}"
            complete = job.condition("Complete") is not None
            exit_ = Exit(code=0) if complete else Exit(lost=True, message=text)
        if exit_ is not None:
            namespace.end(handle, exit_)

    async def close(self) -> None:
        namespaces, self._namespaces = list(self._namespaces.values()), {}
        await asyncio.gather(*(namespace.close() for namespace in namespaces))


class _Namespace:
    """The workloads of one namespace and the task that observes them."""

    def __init__(
        self, api: KubernetesApi, name: str, selector: str, poll_interval_s: float, timeouts: Timeouts
    ) -> None:
        self._api = api
        self._name = name
        self._selector = selector
        self._poll_interval_s = poll_interval_s
        self._timeouts = timeouts
        self._subscriptions: dict[tuple[str, str], Subscription] = {}
        self._trigger = Trigger()
        self._added = False
        """Whether there are workloads that have not been looked at."""
        self._jobs = Watched(api, JOBS, name, selector, Job, self._trigger)
        self._pods = Watched(api, PODS, name, selector, Pod, self._trigger)
        self._resync_s = 0.0
        self._doubtful = False
        """Whether the last look at copies has left an exit unconfirmed."""
        self._pages = False
        """Whether lists are too large for one response."""
        self._failures = 0
        self._unknown_since: datetime | None = None
        self._refused_since_s: float | None = None
        self._task = asyncio.create_task(self._run(), name=f"reconcile-{name}")

    def add(self, handle: JobHandle) -> Subscription:
        key = handle.job, handle.uid
        subscription = self._subscriptions.get(key)
        if subscription is None or subscription.exit.done():
            subscription = self._subscriptions[key] = Subscription(handle)
            self._added = True
        subscription.listeners += 1
        return subscription

    def drop(self, subscription: Subscription) -> bool:
        """Remove a listener. Returns True when the namespace has none left."""
        subscription.listeners -= 1
        key = subscription.handle.job, subscription.handle.uid
        if not subscription.listeners and self._subscriptions.get(key) is subscription:
            del self._subscriptions[key]
        if self._subscriptions:
            return False
        self._task.cancel()
        for watched in (self._jobs, self._pods):
            watched.cancel()
        return True

    def end(self, handle: JobHandle, exit_: Exit) -> None:
        for subscription in self._subscriptions.values():
            if subscription.handle.job == handle.job:
                subscription.end(exit_)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, self._jobs.close(), self._pods.close(), return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._trigger.clear()
            self._added = False
            started_s = time.monotonic()
            await self._look()
            shortest_s = min(MIN_INTERVAL_S, self._poll_interval_s)
            await asyncio.sleep(shortest_s)
            until_s = started_s + self._pause_s() * (LONGEST - JITTER * random.random())  # noqa: S311  spreads load
            while (left_s := until_s - time.monotonic()) > 0:
                new_s = min(NEW_WORKLOAD_S, self._poll_interval_s)
                if await self._trigger.wait(min(left_s, new_s)) or self._added:
                    break

    def _pause_s(self) -> float:
        """Return the time until the next look; shorter while a Job is missing."""
        missing = any(
            subscription.observation.trouble == ABSENT for subscription in self._subscriptions.values()
        )
        return self._timeouts.absent if missing else self._poll_interval_s

    async def _look(self) -> None:
        """Assess every workload that has not ended."""
        waiting = [
            subscription for subscription in self._subscriptions.values() if not subscription.exit.done()
        ]
        if not waiting:
            return
        live = self._jobs.live and self._pods.live
        if live and time.monotonic() < self._resync_s:
            names = {subscription.handle.job for subscription in waiting}
            if names <= self._jobs.objects.keys():
                confirmed = await self._assess(
                    waiting, self._jobs.objects, self._pods.objects.values(), final=False
                )
                if confirmed or not self._doubtful:
                    self._doubtful = not confirmed
                    if self._doubtful:
                        self._trigger.fire()  # the other watch is about to show it
                    return
                self._doubtful = False
                await self._reconcile(waiting, cached=False)
                return
        # What the API server has in memory is cheap to list, and may be too old to conclude that a Job does not exist.
        missing = any(subscription.observation.trouble == ABSENT for subscription in waiting)
        if not await self._reconcile(waiting, cached=not missing and not self._pages):
            await self._reconcile(waiting, cached=False)

    async def _reconcile(self, waiting: list[Subscription], *, cached: bool) -> bool:
        """Assess workloads by new lists, and watch from these on. As :meth:`_assess`; lists that are not cached are final."""
        try:
            jobs, jobs_version = await self._list(JOBS, Job, cached=cached)
            pods, pods_version = await self._list(PODS, Pod, cached=cached)
        except ApiRefusal as error:
            self._unknown(waiting, error)
            await self._refused(waiting, error)
            return True
        except Exception as error:  # noqa: BLE001  an unexpected answer must not end the task
            self._refused_since_s = None
            self._unknown(waiting, error)
            return True
        self._known()
        self._pages = max(len(jobs), len(pods)) > PAGE
        now_s = time.monotonic()
        resync = now_s >= self._resync_s
        if resync:
            self._resync_s = now_s + RESYNC_S * (1 - JITTER * random.random())  # noqa: S311  spreads load
        if resync or not self._jobs.running:
            self._jobs.start(jobs, jobs_version)
        if resync or not self._pods.running:
            self._pods.start(pods, pods_version)
        return await self._assess(waiting, {job.metadata.name: job for job in jobs}, pods, final=not cached)

    async def _list(self, resource: Resource, item: type[S], *, cached: bool) -> tuple[list[S], str]:
        return await self._api.list(
            resource, self._name, self._selector, item, tries=1, priority=Priority.POLL, cached=cached
        )

    async def _assess(
        self, waiting: Iterable[Subscription], jobs: Mapping[str, Job], pods: Iterable[Pod], *, final: bool
    ) -> bool:
        """Derive the states. Returns False if lists from etcd have to confirm an exit, which is ignored until then.

        Copies, and lists from memory, may have a pod as it was before its Job ended. Unless they are ``final``, an exit
        counts only if its pod has it, too.
        """
        confirmed = True
        pods_by_job: defaultdict[str, list[Pod]] = defaultdict(list)
        for pod in pods:
            pods_by_job[pod.job_name].append(pod)
        now_s, utc_s = time.monotonic(), time.time()
        for subscription in waiting:
            name = subscription.handle.job
            own = pods_by_job.get(name, [])
            verdict = assess(
                jobs.get(name),
                own,
                subscription.observation,
                now_s,
                self._timeouts,
                subscription.warning,
                utc_s,
            )
            if final or verdict.exit is None or any(pod.finished for pod in own):
                subscription.update(await self._explained(verdict))
            else:
                confirmed = False
        return confirmed

    async def _explained(self, verdict: Assessment) -> Assessment:
        """Add why a Job or a pod is gone: because of its namespace or its node."""
        reason = verdict.exit.reason if verdict.exit else ""
        node = verdict.observation.node
        if reason == DISAPPEARED.reason and await namespace_is_gone(self._api, self._name):
            return replace(verdict, exit=exit_for(NAMESPACE_GONE, f"'{self._name}'", lost=True))
        if reason == NO_POD.reason and node and await node_is_lost(self._api, node):
            return replace(verdict, exit=exit_for(NODE_GONE, f"'{node}'", lost=True))
        return verdict

    async def _refused(self, waiting: list[Subscription], error: ApiRefusal) -> None:
        """End the workloads if the namespace is gone, or when the right to list them has been missing for long."""
        now_s = time.monotonic()
        if self._refused_since_s is None:
            self._refused_since_s = now_s
        gone = await namespace_is_gone(self._api, self._name)
        if not gone and now_s - self._refused_since_s < self._timeouts.access:
            return
        log.error("No access to workloads", namespace=self._name, gone=gone, error=str(error))
        for subscription in waiting:
            # The rights are deleted with the namespace. If it cannot be read, only Jobs and pods show which of the two it was.
            deleted = gone or (gone is None and subscription.observation.vanishing)
            subscription.end(exit_for(NAMESPACE_GONE if deleted else RIGHTS_LOST, str(error), lost=True))

    def _unknown(self, waiting: list[Subscription], error: Exception) -> None:
        """Record that the state is unknown: no workload fails for that."""
        self._failures += 1
        if self._unknown_since is None:
            self._unknown_since = datetime.now(UTC)
        if self._failures < FAILURES_BEFORE_WARNING:
            return
        since = self._unknown_since.isoformat(timespec="seconds").replace("+00:00", "Z")
        if self._failures == FAILURES_BEFORE_WARNING:
            log.warning("State of workloads unknown", namespace=self._name, since=since, error=str(error))
        problem = (
            "The server may not list Jobs and pods" if _is_forbidden(error) else "The cluster does not answer"
        )
        text = f"Unknown since {since}; the last known state is shown. {problem}: {error}"
        if isinstance(error, ApiRefusal):
            text += f". The benchmark fails if that lasts for {self._timeouts.access:.12g} seconds."
        for subscription in waiting:
            subscription.notify(Notice(reason="state_unknown", message=text))

    def _known(self) -> None:
        if self._failures >= FAILURES_BEFORE_WARNING:
            log.info("State of workloads known again", namespace=self._name)
        self._failures, self._unknown_since, self._refused_since_s = 0, None, None


def _is_forbidden(error: Exception) -> bool:
    return isinstance(error, ApiRefusal) and error.forbidden
