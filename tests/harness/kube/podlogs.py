"""``pods/log``: what containers have printed."""

from __future__ import annotations

from collections import defaultdict
from io import BytesIO

from aiohttp import web

from harness.kube import problems
from harness.kube.kinds import PODS, uid_of
from harness.kube.store import Store, now


class PodLogs:
    """Lines by pod and container; they go with the pod."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._text: defaultdict[tuple[str, str], bytearray] = defaultdict(bytearray)

    def write(self, uid: str, container: str, text: bytes) -> None:
        self._text[uid, container] += text

    async def serve(
        self, request: web.Request, namespace: str, name: str, query: dict[str, str]
    ) -> web.StreamResponse:
        pod = self._store.get(PODS, namespace, name)
        spec, status = pod["spec"], pod.get("status") or {}
        names = [c["name"] for c in [*spec["containers"], *(spec.get("initContainers") or [])]]
        container = query.get("container") or names[0]
        if container not in names:
            raise problems.bad_request(f"container {container} is not valid for pod {name}")
        states = {
            c["name"]: c.get("state") or {}
            for c in [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
        }
        state = states.get(container, {})
        if not state or "waiting" in state:
            why = (state.get("waiting") or {}).get("reason", "PodInitializing")
            text = f'container "{container}" in pod "{name}" is waiting to start: {why}'
            raise problems.bad_request(text)
        lines = BytesIO(self._text[uid_of(pod), container]).readlines()  # a carriage return ends no line
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
        for start in range(0, len(text), 1 << 14):
            await response.write(text[start : start + (1 << 14)])
        await response.write_eof()
        return response
