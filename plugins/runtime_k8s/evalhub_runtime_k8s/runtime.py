"""The Kubernetes runtime: runs adapters as Jobs of a cluster."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator
from typing import Any, cast

import msgspec
import structlog

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import JOBS, SECRETS
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.cluster_state import namespace_is_gone
from evalhub_runtime_k8s.deletion import delete_benchmark
from evalhub_runtime_k8s.diagnosis import ADAPTER, RIGHTS_LOST
from evalhub_runtime_k8s.handles import parse
from evalhub_runtime_k8s.hardware import profile_name
from evalhub_runtime_k8s.job_status import Timeouts
from evalhub_runtime_k8s.labels import APP, COMPONENT, job_selector, selector_text
from evalhub_runtime_k8s.launches import Launches
from evalhub_runtime_k8s.logs import Logs
from evalhub_runtime_k8s.object_status import Job
from evalhub_runtime_k8s.prerequisites import hardware_profile
from evalhub_runtime_k8s.reconciler import Reconciler
from evalhub_runtime_k8s.removals import Removals
from evalhub_runtime_k8s.settings import Installation
from evalhub_runtime_k8s.sidecar_config import sidecar_urls
from evalhub_runtime_k8s.status_events import StatusPublisher
from evalhub_server.plugins import (
    BenchmarkRun,
    Exit,
    ExportRefused,
    Handle,
    JobPlan,
    JobRecord,
    JobRequest,
    Limits,
    LogOptions,
    Notice,
    Runtime,
    RuntimeRefused,
    RuntimeUnavailable,
    problems,
)

log = structlog.get_logger()

DOCKER_CONFIG = ".dockerconfigjson"
UNKNOWN_HANDLE = "its handle has an unknown format, perhaps of a newer server"
EXIT_DELAY_S = 10.0
"""How long the kubelet may take to stop a pod, beyond its termination grace period."""


class KubernetesRuntime(Runtime):
    """Each benchmark is a Job in the namespace of its tenant; its state is read from the API only.

    Names are derived from job, benchmark and attempt, so a repeated launch finds the objects of the first one.
    """

    name = "kubernetes"
    provider_key = "k8s"
    log_timestamps = True
    on_this_host = False

    def __init__(self, installation: Installation) -> None:
        settings = installation.settings
        self.installation = installation
        self.sidecar = sidecar_urls(installation)
        self.limits = Limits(total=settings.max_parallel)
        self.exit_grace_s = settings.exit_grace
        self.hands_over_samples = bool(settings.samples_volume_limit)
        self.upload_grace_s = installation.termination_grace_s + EXIT_DELAY_S
        self._api = KubernetesApi()
        self._logs = Logs(self._api)
        self._removals = Removals(self._api)
        self._status_publisher = StatusPublisher(self._api, installation)
        self.observe = self._status_publisher.changed
        self._parts: tuple[Launches, Reconciler] | None = None

    async def check(self) -> None:
        await self._api.open()
        settings = self.installation.settings
        timeouts = Timeouts(
            image_pull_timeout=settings.image_pull_timeout,
            container_error_timeout=settings.container_error_timeout,
            notice_after=settings.unschedulable_notice,
            absent=min(settings.poll_interval, Timeouts().absent),
            node_lost=settings.node_lost_timeout,
            access=settings.access_timeout,
        )
        labels = {"app": APP, "component": COMPONENT}
        reconciler = Reconciler(self._api, selector_text(labels), settings.poll_interval, timeouts)
        max_concurrent = settings.parallel_launches
        self._parts = Launches(self._api, self.installation, max_concurrent, reconciler.warned), reconciler

    async def admit(self, request: JobRequest, plan: JobPlan, tenant: str) -> None:
        names = {profile_name(benchmark.hardware_config): None for benchmark in plan.benchmarks}
        names |= {profile_name(request.hardware_config): None}
        for name in filter(None, names):
            try:
                await hardware_profile(name, self.installation, self._api)
            except RuntimeUnavailable as error:
                raise problems.hardware_profile_fetch_failed(name, unavailable=True) from error

    async def launch(self, run: BenchmarkRun) -> Handle:
        return (await self._launches.launch(run)).plain()

    async def find(self, run: BenchmarkRun) -> Handle | None:
        found = await self._launches.find(run)
        return found.plain() if found else None

    async def wait(self, handle: Handle) -> Exit:
        parsed = parse(handle)
        if parsed is None:
            return Exit(lost=True, message=UNKNOWN_HANDLE)
        async with self._reconciler.subscribed(parsed) as subscription:
            return await asyncio.shield(subscription.exit)

    async def notices(self, handle: Handle) -> AsyncGenerator[Notice | None]:
        parsed = parse(handle)
        if parsed is not None:
            async with self._reconciler.subscribed(parsed) as subscription:
                async for notice in subscription.notices():
                    yield notice

    async def stop(self, handle: Handle, grace_s: float) -> None:
        parsed = parse(handle)
        if parsed is None:
            return
        try:
            # A client waits for this; the caller retries.
            found = await self._api.find(JOBS, parsed.namespace, parsed.job, tries=1)
            job = msgspec.convert(found, Job) if found is not None else None
            if job is not None and job.outcome is not None:
                # It has ended, and its log is still read from its pod.
                await self._reconciler.judge(parsed, job)
                return
            if job is not None:
                await self._logs.keep(parsed)
            refused = await delete_benchmark(self._api, parsed, grace_s)
        except ApiRefusal as error:
            refused = {JOBS: error}
        if JOBS in refused and not await namespace_is_gone(self._api, parsed.namespace):
            raise self._refusal(
                f"the Job '{parsed.job}' in namespace '{parsed.namespace}' may still run, and its deletion is "
                f"refused: {refused[JOBS]}"
            ) from refused[JOBS]
        if refused and JOBS not in refused:
            # They belong to the Job, so the cluster's garbage collector removes them.
            kinds = [resource.plural for resource in refused]
            log.warning(
                "Objects left to the garbage collector", job=parsed.job, kinds=kinds, errors=str(refused)
            )
        self._reconciler.stopped(parsed)

    def _refusal(self, text: str) -> RuntimeRefused:
        return RuntimeRefused(text, RIGHTS_LOST.reason, retry_for_s=self.installation.settings.access_timeout)

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncGenerator[bytes]:
        parsed = parse(handle)
        if parsed is not None:
            async for chunk in self._logs.read(parsed, options):
                yield chunk

    async def has_log(self, handle: Handle) -> bool:
        parsed = parse(handle)
        return parsed is not None and await self._logs.exists(parsed)

    async def follow_log(self, handle: Handle, offset: int) -> AsyncGenerator[bytes]:
        parsed = parse(handle)
        if parsed is not None:
            async for chunk in self._logs.follow(parsed, offset):
                yield chunk

    async def log_source(self, handle: Handle | None, job_id: str, benchmark_index: int) -> tuple[str, str]:
        parsed = parse(handle) if handle is not None else None
        return ("unknown", ADAPTER) if parsed is None else await self._logs.source(parsed)

    async def remove(self, job_id: str, tenant: str) -> str:
        namespace = self.installation.tenant_namespace(tenant)
        selector = selector_text({"app": APP, "component": COMPONENT, **job_selector(job_id)})
        self._logs.forget(job_id)
        return await self._removals.remove(namespace, selector, job_id)

    async def docker_config(self, job: JobRecord) -> bytes | None:
        oci = job.request.exports.oci if job.request.exports else None
        name = oci.k8s.connection if oci and oci.k8s else ""
        if not name:
            raise ExportRefused(
                "exports.oci.k8s.connection is empty; set it to the secret with the registry credentials."
            )
        namespace = self.installation.tenant_namespace(job.tenant)
        found = await self._api.find(SECRETS, namespace, name)
        data = cast("dict[str, Any]", (found or {}).get("data") or {})
        try:
            return base64.b64decode(data[DOCKER_CONFIG], validate=True)
        except (KeyError, TypeError, binascii.Error) as error:
            raise ExportRefused(
                f"The secret '{name}' of exports.oci.k8s.connection in namespace '{namespace}' has no {DOCKER_CONFIG}; "
                "create it with: kubectl create secret docker-registry."
            ) from error

    @property
    def _launches(self) -> Launches:
        assert self._parts is not None, "call check() first"  # noqa: S101
        return self._parts[0]

    @property
    def _reconciler(self) -> Reconciler:
        assert self._parts is not None, "call check() first"  # noqa: S101
        return self._parts[1]

    async def close(self) -> None:
        if self._parts is not None:
            launches, reconciler = self._parts
            await launches.close()
            await reconciler.close()
        await self._removals.close()
        await self._status_publisher.close()
        await self._api.close()
