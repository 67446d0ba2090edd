"""Copies of the objects of a namespace, kept current by watches."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Generic, TypeVar

import structlog

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import Resource
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.object_status import Job, Pod
from evalhub_server.plugins import EvalHubError

log = structlog.get_logger()

WATCH_S = 300.0
SHORTEST_S = 10.0
"""A watch that ends sooner than this without an error does not work here, for example through a proxy."""
SPREAD_S = 1.0
"""Longest delay before an interrupted watch continues: all namespaces are interrupted at the same time."""
WATCH_TRIES = 3


S = TypeVar("S", Job, Pod)


class Trigger:
    """An event that stays set until it is cleared, with a timeout on waiting."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    async def wait(self, timeout_s: float) -> bool:
        """Return True as soon as it fires, or False after ``timeout_s`` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class Watched(Generic[S]):
    """The objects of one kind in a namespace: those of a list, with all changes since then while :attr:`live`.

    An interrupted watch continues from the last version that it has reported, of which bookmarks keep it informed. If it
    cannot (410: the version is too old), it is no longer live until the next list. Without the right to watch it stays off.
    """

    def __init__(
        self,
        api: KubernetesApi,
        resource: Resource,
        namespace: str,
        selector: str,
        item: type[S],
        trigger: Trigger,
    ) -> None:
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._selector = selector
        self._item = item
        self._trigger = trigger
        self._forbidden = False
        self._version = ""
        self._task: asyncio.Task[None] | None = None
        self._accepted = False
        self.objects: dict[str, S] = {}
        """By name. Only current while :attr:`live`."""

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def live(self) -> bool:
        """Whether the API has accepted the watch and it goes on."""
        return self._accepted and self.running

    def start(self, objects: list[S], version: str) -> None:
        """Watch from a list on."""
        self.cancel()
        if self._forbidden or not version:
            return
        self.objects = {thing.metadata.name: thing for thing in objects}
        self._version = version
        name = f"watch-{self._namespace}-{self._resource.plural}"
        self._task = asyncio.create_task(self._run(), name=name)

    def cancel(self) -> None:
        self._accepted = False
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            works = await self._follow()
        except ApiRefusal as error:
            self._forbidden = error.forbidden
            if error.forbidden:
                log.info(
                    "No right to watch, polling", namespace=self._namespace, resource=self._resource.plural
                )
                return
            works = True
        self._accepted = False
        if works:
            self._trigger.fire()

    async def _follow(self) -> bool:
        """Apply changes until the watch cannot continue; return whether a new one is worthwhile. Raises :class:`ApiRefusal`."""
        failures = 0
        while failures < WATCH_TRIES:
            started_s = time.monotonic()
            timeout_s = WATCH_S * random.uniform(0.8, 1.0)  # noqa: S311  only spreads load
            try:
                async with self._api.watching(
                    self._resource, self._namespace, self._selector, self._item, self._version, timeout_s
                ) as changes:
                    self._accepted = True
                    async for type_, thing in changes:
                        failures = 0
                        self._apply(type_, thing)
            except ApiRefusal:
                raise
            except EvalHubError:
                failures += 1
            else:
                if time.monotonic() - started_s < SHORTEST_S:
                    return False
            await asyncio.sleep(SPREAD_S * random.random())  # noqa: S311  only spreads load
        return False  # the next regular list reports the state of the API

    def _apply(self, type_: str, thing: S) -> None:
        self._version = thing.metadata.resource_version or self._version
        if type_ == "BOOKMARK":
            return
        if type_ == "DELETED":
            self.objects.pop(thing.metadata.name, None)
        else:
            self.objects[thing.metadata.name] = thing
        self._trigger.fire()
