"""Looks after all workloads of a server: one task for each namespace lists Jobs and pods and judges what it sees.

Lists are the truth. A watch, where the server has the right to one, only says when to look again; without it, looks
come at intervals. While the API does not answer, what was known last stays, and people are told since when.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog

from evalhub_runtime_k8s.api_errors import Refused
from evalhub_runtime_k8s.api_resources import JOBS, PODS
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.handles import JobHandle
from evalhub_runtime_k8s.job_status import ABSENT, Graces, judge
from evalhub_runtime_k8s.object_status import Job, Pod
from evalhub_runtime_k8s.subscription import Followed
from evalhub_runtime_k8s.watches import Alarm, NamespaceWatch
from evalhub_server.plugins import EvalHubError, Exit, Notice

log = structlog.get_logger()

JITTER = 0.2
LOOKS_APART_S = 0.5
"""Between two looks, however often something changes."""
FAILURES_TO_TELL = 2
KEPT_WARNINGS = 1000


class Reconciler:
    """:meth:`following` makes a workload known for as long as somebody waits for it. :meth:`close` last."""

    def __init__(self, api: KubernetesApi, selector: str, poll_interval_s: float, graces: Graces) -> None:
        self._api = api
        self._selector = selector
        self._poll_interval_s = poll_interval_s
        self._graces = graces
        self._namespaces: dict[str, _Namespace] = {}
        self._warnings: OrderedDict[str, str] = OrderedDict()

    def warned(self, job: str, texts: tuple[str, ...]) -> None:
        """Remember what the cluster said when it made a Job, for the case that no pod comes of it."""
        self._warnings[job] = "; ".join(texts)
        while len(self._warnings) > KEPT_WARNINGS:
            self._warnings.popitem(last=False)

    @asynccontextmanager
    async def following(self, handle: JobHandle) -> AsyncGenerator[Followed]:
        namespace = self._namespaces.get(handle.namespace)
        if namespace is None:
            namespace = _Namespace(
                self._api, handle.namespace, self._selector, self._poll_interval_s, self._graces
            )
            self._namespaces[handle.namespace] = namespace
        followed = namespace.add(handle)
        followed.warning = self._warnings.get(handle.job, "")
        try:
            yield followed
        finally:
            if namespace.drop(followed):
                self._namespaces.pop(handle.namespace, None)

    def stopped(self, handle: JobHandle) -> None:
        """Somebody asked for the end, so nothing has to be found out."""
        namespace = self._namespaces.get(handle.namespace)
        if namespace is not None:
            namespace.stopped(handle)

    async def close(self) -> None:
        namespaces, self._namespaces = list(self._namespaces.values()), {}
        await asyncio.gather(*(namespace.close() for namespace in namespaces))


class _Namespace:
    """The workloads of one namespace and the task that looks at them."""

    def __init__(
        self, api: KubernetesApi, name: str, selector: str, poll_interval_s: float, graces: Graces
    ) -> None:
        self._api = api
        self._name = name
        self._selector = selector
        self._poll_interval_s = poll_interval_s
        self._graces = graces
        self._followed: dict[tuple[str, str], Followed] = {}
        self._alarm = Alarm()
        self._watches = [NamespaceWatch(api, kind, name, selector, self._alarm) for kind in (JOBS, PODS)]
        self._failures = 0
        self._unknown_since: datetime | None = None
        self._task = asyncio.create_task(self._run(), name=f"reconcile-{name}")

    def add(self, handle: JobHandle) -> Followed:
        key = handle.job, handle.uid
        followed = self._followed.get(key)
        if followed is None or followed.exit.done():
            followed = self._followed[key] = Followed(handle)
            self._alarm.ring()
        followed.listeners += 1
        return followed

    def drop(self, followed: Followed) -> bool:
        """True when nobody waits for anything here any more."""
        followed.listeners -= 1
        key = followed.handle.job, followed.handle.uid
        if not followed.listeners and self._followed.get(key) is followed:
            del self._followed[key]
        if self._followed:
            return False
        self._task.cancel()
        for watch in self._watches:
            watch.cancel()
        return True

    def stopped(self, handle: JobHandle) -> None:
        for followed in self._followed.values():
            if followed.handle.job == handle.job:
                followed.end(
                    Exit(signal="SIGTERM", reason="stopped", message="its Job was deleted on request")
                )

    async def close(self) -> None:
        self._task.cancel()
        for watch in self._watches:
            watch.cancel()
        tasks = [self._task, *(watch.task for watch in self._watches if watch.task is not None)]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._alarm.clear()
            await self._look()
            await asyncio.sleep(min(LOOKS_APART_S, self._poll_interval_s))
            spread = 1 + random.uniform(-JITTER, JITTER)  # noqa: S311  only spreads load
            await self._alarm.rung(self._pause_s() * spread)

    def _pause_s(self) -> float:
        """Until the next look; a Job that was not there is looked for again sooner."""
        missing = any(followed.memory.trouble == ABSENT for followed in self._followed.values())
        return self._graces.absent if missing else self._poll_interval_s

    async def _look(self) -> None:
        waiting = [followed for followed in self._followed.values() if not followed.exit.done()]
        if not waiting:
            return
        try:
            jobs, jobs_version = await self._api.list(JOBS, self._name, self._selector, Job, tries=1)
            pods, pods_version = await self._api.list(PODS, self._name, self._selector, Pod, tries=1)
        except EvalHubError as error:
            self._unknown(waiting, error)
            return
        except Exception as error:  # noqa: BLE001  an answer that nobody thought of must not end the looks
            self._unknown(waiting, error)
            return
        self._known()
        for watch, version in zip(self._watches, (jobs_version, pods_version), strict=True):
            watch.start(version)
        jobs_by_name = {job.metadata.name: job for job in jobs}
        pods_by_job: defaultdict[str, list[Pod]] = defaultdict(list)
        for pod in pods:
            pods_by_job[pod.job_name].append(pod)
        now_s = time.monotonic()
        for followed in waiting:
            name = followed.handle.job
            job = jobs_by_name.get(name)
            pods_of_it = pods_by_job.get(name, [])
            followed.take(judge(job, pods_of_it, followed.memory, now_s, self._graces, followed.warning))

    def _unknown(self, waiting: list[Followed], error: Exception) -> None:
        """Nobody fails for what is not known."""
        self._failures += 1
        if self._unknown_since is None:
            self._unknown_since = datetime.now(UTC)
        if self._failures < FAILURES_TO_TELL:
            return
        since = self._unknown_since.isoformat(timespec="seconds").replace("+00:00", "Z")
        if self._failures == FAILURES_TO_TELL:
            log.warning("state of workloads unknown", namespace=self._name, since=since, error=str(error))
        what = (
            "The server may not list Jobs and pods" if _is_forbidden(error) else "The cluster does not answer"
        )
        text = f"Unknown since {since}; what was known before is shown. {what}: {error}"
        for followed in waiting:
            followed.say(Notice(reason="state_unknown", message=text))

    def _known(self) -> None:
        if self._failures >= FAILURES_TO_TELL:
            log.info("state of workloads known again", namespace=self._name)
        self._failures, self._unknown_since = 0, None


def _is_forbidden(error: Exception) -> bool:
    return isinstance(error, Refused) and error.forbidden
