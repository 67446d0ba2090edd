"""Launches in progress: one for each workload, shared by repeated calls, limited in number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import CONFIG_MAPS, JOBS, SECRETS
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.creation import Creation
from evalhub_runtime_k8s.handles import JobHandle, handle_for
from evalhub_runtime_k8s.manifest import Manifests, build
from evalhub_runtime_k8s.names import names_for
from evalhub_runtime_k8s.prerequisites import read_facts
from evalhub_runtime_k8s.settings import Installation
from evalhub_server.plugins import BenchmarkRun, RuntimeRefused

log = structlog.get_logger()

Key = tuple[str, int, int]
CLOSE_S = 2.0


class _Launch:
    """A launch and the number of its waiters. Without any, it is cancelled between two API calls."""

    def __init__(self) -> None:
        self.task: asyncio.Task[JobHandle] | None = None
        self.creation: Creation | None = None
        self.waiting = 0
        self.cancelled = False
        self.started = False

    def cancel(self) -> None:
        self.cancelled = True
        if self.creation is not None:
            self.creation.cancel()
        elif not self.started and self.task is not None:
            self.task.cancel()  # it still waits for a slot


class Launches:
    """Starts workloads, at most ``max_concurrent`` at the same time.

    ``on_warnings(job, texts)`` gets the API's warnings about a created Job, such as that a policy would refuse its pod.
    """

    def __init__(
        self,
        api: KubernetesApi,
        installation: Installation,
        max_concurrent: int,
        on_warnings: Callable[[str, tuple[str, ...]], None],
    ) -> None:
        self._on_warnings = on_warnings
        self._api = api
        self._installation = installation
        self._slots = asyncio.Semaphore(max_concurrent)
        self._launches: dict[Key, _Launch] = {}

    async def launch(self, run: BenchmarkRun) -> JobHandle:
        """As :meth:`Runtime.launch`."""
        while (launch := self._launches.get(run.key)) is not None and launch.cancelled:
            await self._wait_for(launch)
        if launch is None:
            launch = self._launches[run.key] = _Launch()
            launch.task = asyncio.create_task(self._run(launch, run), name=f"launch-{run.key}")
            launch.task.add_done_callback(lambda task: self._done(run.key, launch, task))
        assert launch.task is not None  # noqa: S101  set above
        launch.waiting += 1
        try:
            # Shielded: an API call cannot be undone, and its result must be recorded.
            return await asyncio.shield(launch.task)
        except asyncio.CancelledError:
            launch.waiting -= 1
            if not launch.waiting:
                launch.cancel()
            raise

    async def find(self, run: BenchmarkRun) -> JobHandle | None:
        """As :meth:`Runtime.find`, after a launch in progress has finished."""
        launch = self._launches.get(run.key)
        if launch is not None:
            await self._wait_for(launch)
        namespace, names = self._installation.tenant_namespace(run.tenant), names_for(*run.key)
        try:
            job = await self._api.find(JOBS, namespace, names.job)
            if job is not None:
                return handle_for(names, namespace, run.spec.id, job["metadata"]["uid"])
            for resource, name in ((CONFIG_MAPS, names.config_map), (SECRETS, names.secret)):
                if await self._api.find(resource, namespace, name) is not None:
                    return handle_for(names, namespace, run.spec.id, "")
        except ApiRefusal as error:
            raise RuntimeRefused(
                f"the objects of the benchmark cannot be read: {error}",
                "rights_lost",
                retry_for_s=self._installation.settings.access_timeout,
            ) from error
        return None

    async def close(self) -> None:
        """Let each launch finish its current step, for at most :data:`CLOSE_S` seconds."""
        launches = list(self._launches.values())
        for launch in launches:
            launch.cancel()
        tasks = [launch.task for launch in launches if launch.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_for(self, launch: _Launch) -> None:
        if launch.task is not None:
            await asyncio.wait([launch.task])

    def _done(self, key: Key, launch: _Launch, task: asyncio.Task[JobHandle]) -> None:
        if self._launches.get(key) is launch:
            del self._launches[key]
        if not task.cancelled():
            task.exception()  # retrieved, even if every caller was cancelled

    async def _run(self, launch: _Launch, run: BenchmarkRun) -> JobHandle:
        async with self._slots:
            launch.started = True
            manifests = build(run, self._installation, await read_facts(run, self._installation, self._api))
            launch.creation = Creation(self._api, manifests)
            if launch.cancelled:
                launch.creation.cancel()
            uid = await launch.creation.run()
        for warning in manifests.warnings:
            log.warning(warning, job_id=run.spec.id, benchmark_index=run.spec.benchmark_index)
        self._log(run, manifests)
        if launch.creation.warnings:
            self._on_warnings(manifests.names.job, launch.creation.warnings)
        return handle_for(manifests.names, manifests.namespace, run.spec.id, uid)

    def _log(self, run: BenchmarkRun, manifests: Manifests) -> None:
        log.info(
            "kubernetes job created",
            job_id=run.spec.id,
            benchmark_id=run.spec.benchmark_id,
            benchmark_index=run.spec.benchmark_index,
            provider_id=run.spec.provider_id,
            namespace=manifests.namespace,
            job=manifests.names.job,
        )
