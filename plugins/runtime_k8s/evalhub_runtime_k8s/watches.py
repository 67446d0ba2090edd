"""Watches as alarm clocks: a change, or the end of a watch, says that it is time to look again."""

from __future__ import annotations

import asyncio
import time

import structlog

from evalhub_runtime_k8s.api_errors import Refused
from evalhub_runtime_k8s.api_resources import Resource
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_server.plugins import EvalHubError

log = structlog.get_logger()

WATCH_S = 300.0
SHORTEST_S = 10.0
"""A watch that ends sooner than this, and says nothing of why, is not begun again before the next look is due."""


class Alarm:
    """Rings until it is cleared."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    async def rung(self, timeout_s: float) -> None:
        """Return when it rings, at the latest after ``timeout_s``."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return


class NamespaceWatch:
    """A watch on one kind of object that is begun anew with every look, unless it still runs.

    Its end, also for a version that is too old (410), rings the alarm: the next look lists and starts it again from
    there. Without the right to watch it gives up for good, and looks come at intervals only.
    """

    def __init__(
        self, api: KubernetesApi, resource: Resource, namespace: str, selector: str, alarm: Alarm
    ) -> None:
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._selector = selector
        self._alarm = alarm
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
        begun = time.monotonic()
        try:
            async for type_ in self._api.watch(
                self._resource, self._namespace, self._selector, version, WATCH_S
            ):
                if type_ != "BOOKMARK":
                    self._alarm.ring()
        except Refused as error:
            self._forbidden = error.forbidden
            if error.forbidden:
                log.info(
                    "no right to watch, polling", namespace=self._namespace, resource=self._resource.plural
                )
                return
            self._alarm.ring()
        except EvalHubError:
            return  # the next look finds out how the cluster is
        else:
            if time.monotonic() - begun >= SHORTEST_S:
                self._alarm.ring()
