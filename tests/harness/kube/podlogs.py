"""``pods/log``: what containers have printed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from io import BytesIO

from aiohttp import web

from harness.kube import problems
from harness.kube.kinds import PODS, Object, name_of, namespace_of, uid_of
from harness.kube.store import Store, now


class PodLogs:
    """Lines by pod and container; they go with the pod."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._text: defaultdict[tuple[str, str], bytearray] = defaultdict(bytearray)
        self._changed = asyncio.Event()
        self.lost: set[str] = set()
        """Nodes that cannot be reached."""
        store.listen(lambda _: self._changed.set())

    def write(self, uid: str, container: str, text: bytes) -> None:
        self._text[uid, container] += text
        self._changed.set()

    async def serve(
        self, request: web.Request, namespace: str, name: str, query: dict[str, str]
    ) -> web.StreamResponse:
        pod = self._store.get(PODS, namespace, name)
        spec = pod["spec"]
        if spec.get("nodeName") in self.lost:
            raise problems.Refused(500, "InternalError", "Get https://10.0.0.1:10250: dial tcp: i/o timeout")
        names = [c["name"] for c in [*spec["containers"], *(spec.get("initContainers") or [])]]
        container = query.get("container") or names[0]
        if container not in names:
            raise problems.bad_request(f"container {container} is not valid for pod {name}")
        state = _states(pod).get(container, {})
        if not state or "waiting" in state:
            why = (state.get("waiting") or {}).get("reason", "PodInitializing")
            text = f'container "{container}" in pod "{name}" is waiting to start: {why}'
            raise problems.bad_request(text)
        printed = bytes(self._text[uid_of(pod), container])
        lines = BytesIO(printed).readlines()  # a carriage return ends no line
        if "tailLines" in query:
            count = int(query["tailLines"])
            lines = lines[-count:] if count else []
        if problems.is_true(query.get("timestamps", "")):
            lines = [f"{now()} ".encode() + line for line in lines]
        text = b"".join(lines)
        if "limitBytes" in query:
            text = text[: int(query["limitBytes"])]
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await _write(response, text)
        if problems.is_true(query.get("follow", "")):
            await self._follow(response, pod, container, len(printed))
        await response.write_eof()
        return response

    async def _follow(self, response: web.StreamResponse, pod: Object, container: str, sent: int) -> None:
        """Send what the container prints after ``sent`` bytes, until it exits or the pod is gone."""
        key = uid_of(pod), container
        while True:
            running = self._runs(pod, container)
            self._changed.clear()
            text = bytes(self._text[key][sent:])
            await _write(response, text)
            sent += len(text)
            if not running and not text:
                return
            if running and not text:
                await self._changed.wait()

    def _runs(self, pod: Object, container: str) -> bool:
        found = self._store.find(PODS, namespace_of(pod), name_of(pod))
        if found is None or uid_of(found) != uid_of(pod):
            return False
        return "running" in _states(found).get(container, {})


def _states(pod: Object) -> dict[str, Object]:
    status = pod.get("status") or {}
    statuses = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
    return {each["name"]: each.get("state") or {} for each in statuses}


async def _write(response: web.StreamResponse, text: bytes) -> None:
    for start in range(0, len(text), 1 << 14):
        await response.write(text[start : start + (1 << 14)])
