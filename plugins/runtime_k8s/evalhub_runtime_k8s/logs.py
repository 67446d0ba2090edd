"""Logs of adapters: from the pod, or from memory after the server has deleted the pod."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Mapping
from io import BytesIO

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import PODS
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.diagnosis import ADAPTER
from evalhub_runtime_k8s.handles import JobHandle
from evalhub_runtime_k8s.object_status import Pod
from evalhub_server.plugins import EvalHubError, LogLines, LogOptions, RuntimeRefused

MAX_KEPT_LOGS = 256
KEPT_LINES = 200
KEPT_BYTES = 32 * 1024
KEEP_TIMEOUT_S = 3.0


class Logs:
    """Reads logs, and keeps the last lines of those whose pod was deleted."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def source(self, handle: JobHandle) -> tuple[str, str]:
        """Return (pod, container) for a header; the Job's name if there is no pod."""
        pod = await self._pod(handle)
        return (pod.metadata.name if pod else handle.job), ADAPTER

    async def exists(self, handle: JobHandle) -> bool:
        """Return whether the adapter has started, or its log was kept. Raises :class:`RuntimeUnavailable`."""
        if (handle.job_id, handle.job) in self._kept:
            return True
        pod = await self._pod(handle)
        container = pod.container(ADAPTER) if pod is not None else None
        state = container.state if container is not None else None
        return state is not None and (state.running is not None or state.terminated is not None)

    async def read(self, handle: JobHandle, options: LogOptions) -> AsyncGenerator[bytes]:
        """Yield the log so far. Raises :class:`RuntimeUnavailable` before the first chunk if it cannot be read."""
        pod = await self._pod(handle)
        chunks = self._kept_log(handle, options) if pod is None else self._pod_log(handle, pod, options)
        async for chunk in chunks:
            yield chunk

    async def follow(self, handle: JobHandle, offset: int) -> AsyncGenerator[bytes]:
        """Yield what the adapter prints from byte ``offset`` on, until it exits; nothing if there is no running pod.

        Raises :class:`RuntimeUnavailable`, also if it has printed nothing for :data:`~evalhub_runtime_k8s.client.SILENCE_S`.
        """
        pod = await self._pod(handle)
        if pod is None:
            return
        position = 0
        async for chunk in self._chunks(handle, pod, {"container": ADAPTER, "follow": "true"}):
            # The API has no offsets: what was read before is skipped.
            if position + len(chunk) > offset:
                yield chunk[max(0, offset - position) :]
            position += len(chunk)

    async def keep(self, handle: JobHandle) -> None:
        """Keep the end of a log whose pod is about to be deleted. Best effort."""
        text, lines = b"", LogLines()
        try:
            async with asyncio.timeout(KEEP_TIMEOUT_S):  # its node may be unreachable, and a client waits
                async for chunk in self.read(handle, LogOptions(tail_lines=KEPT_LINES)):
                    text = (text + lines.feed(chunk))[-KEPT_BYTES:]
        except (EvalHubError, TimeoutError):
            return
        text = (text + lines.close(ended=True))[-KEPT_BYTES:]
        if text:
            key = handle.job_id, handle.job
            self._kept[key] = text
            self._kept.move_to_end(key)
            while len(self._kept) > MAX_KEPT_LOGS:
                self._kept.popitem(last=False)

    def forget(self, job_id: str) -> None:
        for key in [key for key in self._kept if key[0] == job_id]:
            del self._kept[key]

    async def _kept_log(self, handle: JobHandle, options: LogOptions) -> AsyncGenerator[bytes]:
        text = self._kept.get((handle.job_id, handle.job), b"")
        if options.tail_lines >= 0:
            text = b"".join(deque(BytesIO(text), maxlen=options.tail_lines))
        if text:
            yield text

    async def _pod_log(self, handle: JobHandle, pod: Pod, options: LogOptions) -> AsyncGenerator[bytes]:
        query = {"container": ADAPTER}
        if options.tail_lines >= 0:
            query["tailLines"] = str(options.tail_lines)
        if options.since_seconds is not None:
            query["sinceSeconds"] = str(options.since_seconds)
        if options.timestamps:
            query["timestamps"] = "true"
        async for chunk in self._chunks(handle, pod, query):
            yield chunk

    async def _chunks(self, handle: JobHandle, pod: Pod, query: Mapping[str, str]) -> AsyncGenerator[bytes]:
        try:
            async for chunk in self._api.log(handle.namespace, pod.metadata.name, query):
                yield chunk
        except ApiRefusal as error:
            # No output: the container has not started (400), or the pod is gone by now (404).
            if error.status not in (400, 404):
                raise RuntimeRefused(
                    f"the log of pod '{pod.metadata.name}' cannot be read: {error}", "rights_lost"
                ) from error

    async def _pod(self, handle: JobHandle) -> Pod | None:
        """Return the newest pod of the Job."""
        try:
            pods, _ = await self._api.list(PODS, handle.namespace, f"job-name={handle.job}", Pod)
        except ApiRefusal as error:
            raise RuntimeRefused(
                f"the pods of Job '{handle.job}' cannot be read: {error}", "rights_lost"
            ) from error
        return max(pods, key=lambda pod: pod.metadata.creation_timestamp or "", default=None)
