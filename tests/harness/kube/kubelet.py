"""Starts a script for each pod, and ends what is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from harness.kube.garbage import delete, finished
from harness.kube.kinds import PODS, Object, kind_of, terminating, uid_of
from harness.kube.podlogs import PodLogs
from harness.kube.pods import PodScript
from harness.kube.store import Store

Script = Callable[[PodScript], Coroutine[Any, Any, None]]
GRACE_S = 0.3


class Kubelet:
    """``scripts`` maps an adapter's image to what its pods go through; other images run until they are deleted."""

    def __init__(self, store: Store, logs: PodLogs) -> None:
        self.scripts: dict[str, Script] = {}
        self.grace_s = GRACE_S
        """How long a deleted pod gets: stands for ``terminationGracePeriodSeconds``."""
        self.lost: set[str] = set()
        """Nodes that cannot be reached: their pods go on and are never reported as ended."""
        self._store = store
        self._logs = logs
        self._pods: dict[str, tuple[PodScript, asyncio.Task[None]]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self.errors: list[BaseException] = []

    def sync(self, changed: Iterable[Object]) -> None:
        """Start and end what the pods that have changed require."""
        for uid in [uid_of(thing) for thing in changed if kind_of(thing) is PODS]:
            pod = self._store.by_uid(uid)
            if pod is not None and uid not in self._pods and not terminating(pod) and not finished(pod):
                self._start(uid, pod)
            if uid not in self._pods:
                continue
            script, task = self._pods[uid]
            script.note_deletion()
            if pod is None:
                task.cancel()
                del self._pods[uid]
            elif pod["spec"].get("nodeName") in self.lost:
                continue
            elif terminating(pod) and uid not in self._ending:
                self._ending[uid] = asyncio.create_task(self._end(uid, script, task))

    async def close(self) -> None:
        tasks = [*self._ending.values(), *(task for _, task in self._pods.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, uid: str, pod: Object) -> None:
        script = PodScript(self._store, self._logs, pod)
        play = self._script(script)
        task = asyncio.create_task(self._play(play(script)), name=f"pod-{uid}")
        self._pods[uid] = script, task

    def _script(self, script: PodScript) -> Script:
        from harness.kube.scripts import by_image  # it imports this module's types

        image = script.adapter["image"]
        return self.scripts.get(image) or by_image(image)

    async def _play(self, script: Awaitable[None]) -> None:
        try:
            await script
        except Exception as error:
            self.errors.append(error)
            raise

    async def _end(self, uid: str, script: PodScript, task: asyncio.Task[None]) -> None:
        """SIGTERM was sent; SIGKILL after the grace."""
        await asyncio.wait([task], timeout=self.grace_s)
        pod = script.pod
        if pod is not None and not finished(pod) and pod["spec"].get("nodeName"):
            script.exits(137, "Error")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        pod = script.pod
        if pod is not None:
            delete(self._store, pod, "Background")
        self._ending.pop(uid, None)
