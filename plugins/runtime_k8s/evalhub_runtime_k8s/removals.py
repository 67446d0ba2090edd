"""Removals of evaluations from the cluster; those that take long go on in the background."""

from __future__ import annotations

import asyncio

import structlog

from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.cluster_state import namespace_is_gone
from evalhub_runtime_k8s.deletion import delete_evaluation, left_over
from evalhub_server.plugins import EvalHubError

log = structlog.get_logger()

TIMEOUT_S = 10.0
"""How long a client waits: for deletions, and for pods to terminate."""


class Removals:
    """Removes the objects of evaluations. Call :meth:`close` last."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._tasks: set[asyncio.Task[str]] = set()

    async def remove(self, namespace: str, selector: str, job_id: str) -> str:
        """Return a sentence about what is left, or an empty text. Raises :class:`RuntimeUnavailable`."""
        listed = asyncio.Event()
        task = asyncio.create_task(self._remove(namespace, selector, listed), name=f"remove-{job_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        done, _ = await asyncio.wait([task], timeout=TIMEOUT_S)
        if done or not listed.is_set():
            return await asyncio.shield(task)  # or the API is unavailable: nothing is removed
        task.add_done_callback(lambda task: _report(task, job_id, namespace))
        return (
            f"The objects of the job in namespace '{namespace}' are still being removed in the background. "
            f"Those that a restart of the server leaves are found with: kubectl -n {namespace} get all -l {selector}"
        )

    async def _remove(self, namespace: str, selector: str, listed: asyncio.Event) -> str:
        refused = await delete_evaluation(self._api, namespace, selector, TIMEOUT_S / 2, listed)
        if refused and await namespace_is_gone(self._api, namespace):
            return ""
        return left_over(namespace, selector, refused)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _report(task: asyncio.Task[str], job_id: str, namespace: str) -> None:
    if task.cancelled():
        log.warning("Removal interrupted", job_id=job_id, namespace=namespace)
    elif isinstance(error := task.exception(), EvalHubError):
        log.error("Removal failed", job_id=job_id, namespace=namespace, error=str(error))
    elif error is not None:
        log.error("Removal failed", job_id=job_id, namespace=namespace, exc_info=error)
    else:
        log.info("Removal finished", job_id=job_id, namespace=namespace, left=task.result())
