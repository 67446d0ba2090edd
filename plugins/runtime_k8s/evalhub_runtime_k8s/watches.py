"""Watches that trigger the reconciler: on a change, and when a watch ends."""

from __future__ import annotations

import asyncio
import time

import structlog

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import Resource
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_server.plugins import EvalHubError

log = structlog.get_logger()

WATCH_S = 300.0
SHORTEST_S = 10.0
"""A watch that ends sooner than this without an error is restarted only with the next regular list."""


class Trigger:
    """An event that stays set until it is cleared, with a timeout on waiting."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    async def wait(self, timeout_s: float) -> None:
        """Return when it fires, at the latest after ``timeout_s`` seconds."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return


class NamespaceWatch:
    """A watch on one kind of object, restarted after every list unless it still runs.

    Its end, also for a resource version that is too old (410), fires the trigger: the next list restarts it from there.
    Without the right to watch it stays off, and the server polls.
    """

    def __init__(
        self, api: KubernetesApi, resource: Resource, namespace: str, selector: str, trigger: Trigger
    ) -> None:
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._selector = selector
        self._trigger = trigger
        self._forbidden = False
        self.task: asyncio.Task[None] | None = None

    def start(self, version: str) -> None:
        if not self._forbidden and version and (self.task is None or self.task.done()):
            self.task = asyncio.create_task(
                self._run(version), name=f"watch-{self._namespace}-{self._resource.plural}"
            )

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def _run(self, version: str) -> None:
        started_s = time.monotonic()
        try:
            async for type_ in self._api.watch(
                self._resource, self._namespace, self._selector, version, WATCH_S
            ):
                if type_ != "BOOKMARK":
                    self._trigger.fire()
        except ApiRefusal as error:
            self._forbidden = error.forbidden
            if error.forbidden:
                log.info(
                    "No right to watch, polling", namespace=self._namespace, resource=self._resource.plural
                )
                return
            self._trigger.fire()
        except EvalHubError:
            return  # the next list reports the state of the API
        else:
            if time.monotonic() - started_s >= SHORTEST_S:
                self._trigger.fire()
