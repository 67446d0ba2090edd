"""The fake cluster as tests use it: an API server on a loopback port, its controllers, and ways to interfere."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import yaml
from aiohttp import web

from harness.kube import garbage
from harness.kube.api import TOKEN, Api
from harness.kube.controller import JobController
from harness.kube.faults import Call, Fault, Faults, Hold
from harness.kube.kinds import (
    CONFIG_MAPS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    Kind,
    Object,
    labels_of,
    name_of,
    namespace_of,
    terminating,
)
from harness.kube.kubelet import Kubelet, Script
from harness.kube.podlogs import PodLogs
from harness.kube.pods import NODE, PodScript
from harness.kube.proxy import AuthProxy
from harness.kube.rights import Rights
from harness.kube.store import Change, Store, now
from harness.waiting import wait_until

T = TypeVar("T")
TENANT = "team-a"


class FakeCluster:
    """A context manager. It runs in a thread of its own, so its methods may be called from any other thread."""

    def __init__(self, namespaces: Sequence[str] = ("default", TENANT)) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-cluster", daemon=True)
        self._store = Store()
        self._faults = Faults()
        self._logs = PodLogs(self._store)
        self._api = Api(self._store, self._faults, self._logs)
        self._controller = JobController(self._store)
        self._kubelet = Kubelet(self._store, self._logs)
        self._proxy = AuthProxy()
        self._runner: web.AppRunner | None = None
        self._syncing = False
        self._dirty: list[Object] = []
        self._namespaces = namespaces
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if kind is None:
            assert self._kubelet.errors == []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, folder: Path, user: Object | None = None) -> Path:
        """Write a kubeconfig for this cluster and return its path. ``user`` has other credentials than the first token."""
        file = folder / "kubeconfig.yaml"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "server"}}],
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "server", "user": user or {"token": TOKEN}}],
        }
        file.write_text(yaml.safe_dump(document), "utf-8")
        return file

    def open_proxy(self) -> str:
        """Start the authenticating proxy before the server; returns its address. See :meth:`lead_to`."""
        self._run(self._proxy.start())
        return f"http://127.0.0.1:{self._proxy.port}"

    def lead_to(self, url: str) -> None:
        """Where the proxy finds the server."""
        self._do(lambda: setattr(self._proxy, "upstream", url))

    # what is there

    def objects(self, kind: Kind, **labels: str) -> list[Object]:
        """All of a kind, in every namespace, that have these labels."""
        return self._do(
            lambda: [
                copy.deepcopy(thing)
                for thing in self._store.all(kind)
                if labels.items() <= labels_of(thing).items()
            ]
        )

    def jobs(self, **labels: str) -> list[Object]:
        return self.objects(JOBS, **labels)

    def running(self, **labels: str) -> list[Object]:
        """Pods with these labels whose containers run."""
        return [pod for pod in self.objects(PODS, **labels) if pod["status"]["phase"] == "Running"]

    @property
    def running_pods(self) -> int:
        """The number of pods whose containers run, without copies of them."""
        return self._do(lambda: sum(pod["status"]["phase"] == "Running" for pod in self._store.all(PODS)))

    def leftovers(self, **labels: str) -> list[str]:
        """What an evaluation has left: names of its Jobs, Pods, ConfigMaps and Secrets."""
        return [
            f"{kind.plural}/{name_of(thing)}"
            for kind in (JOBS, PODS, CONFIG_MAPS, SECRETS)
            for thing in self.objects(kind, **{"app": "evalhub", **labels})
        ]

    @property
    def calls(self) -> list[Call]:
        return self._do(lambda: list(self._api.calls))

    def called(self, *verbs: str) -> list[str]:
        """Calls so far as ``verb resource``, of these verbs (all if none is given)."""
        return [call.short for call in self.calls if not verbs or call.verb in verbs]

    def take_traffic(self) -> tuple[list[Call], Counter[str]]:
        """Calls, and bytes of responses by ``verb resource``, since the last time this was called."""

        def take() -> tuple[list[Call], Counter[str]]:
            taken = self._api.calls, self._api.bytes_sent
            taken[1]["watch"], self._api.watches.bytes_sent = self._api.watches.bytes_sent, 0
            self._api.calls, self._api.bytes_sent = [], Counter()
            return taken

        return self._do(take)

    @property
    def open_watches(self) -> int:
        return self._do(lambda: self._api.watches.count)

    # what a test does to it

    def seed(self, *things: Object) -> None:
        """Put objects in as an administrator."""

        def put() -> None:
            for thing in things:
                made = copy.deepcopy(thing)
                made["metadata"].setdefault("uid", f"seed-{self._store.version}")
                made["metadata"].setdefault("creationTimestamp", now())
                self._store.put(made)

        self._do(put)

    def edit(self, job: Object, change: Callable[[Object], None]) -> None:
        """Change a Job as an administrator or a controller would."""

        def put() -> None:
            current = copy.deepcopy(self._store.get(JOBS, job["metadata"]["namespace"], name_of(job)))
            change(current)
            self._store.put(current)

        self._do(put)

    def delete(self, thing: Object, policy: str = "Background") -> None:
        """``kubectl delete``, or the TTL controller."""
        self._do(lambda: garbage.delete(self._store, self._current(thing), policy))

    def delete_namespace(self, name: str) -> None:
        """``kubectl delete namespace``: with its RoleBinding the server's rights are gone; pods take their time."""

        def remove() -> None:
            self._api.unbound.add(name)
            found = copy.deepcopy(self._store.get(NAMESPACES, "", name))
            found["metadata"]["deletionTimestamp"] = now()
            self._store.put({**found, "status": {"phase": "Terminating"}})
            for thing in [thing for thing in self._store.all() if namespace_of(thing) == name]:
                garbage.delete(self._store, thing, "Background")

        self._do(remove)

    def unbind(self, namespace: str, *, unbound: bool = True) -> None:
        """Delete the RoleBinding of the server in a namespace, or create it again."""
        names = self._api.unbound
        self._do(lambda: names.add(namespace) if unbound else names.discard(namespace))

    def lose_node(self, *, grace_s: int = 0) -> None:
        """The node is unreachable: its pods are deleted with that grace period, and never end."""

        def lose() -> None:
            self._kubelet.lost.add(NODE)
            self._logs.lost.add(NODE)
            self._store.put(_node("Unknown"))
            for pod in [pod for pod in self._store.all(PODS) if pod["spec"].get("nodeName") == NODE]:
                shortened = copy.deepcopy(pod)
                shortened["spec"]["terminationGracePeriodSeconds"] = grace_s
                PodScript(self._store, self._logs, self._store.put(shortened)).tainted()

        self._do(lose)

    def delete_node(self) -> None:
        """``kubectl delete node``, and what the garbage collector of pods does then."""

        def remove() -> None:
            self._store.remove(self._store.get(NODES, "", NODE))
            for pod in [pod for pod in self._store.all(PODS) if pod["spec"].get("nodeName") == NODE]:
                PodScript(self._store, self._logs, pod).collected()

        self._do(remove)

    def node_is(self, ready: str) -> None:
        """Set the condition ``Ready`` of the node."""
        self._do(lambda: self._store.put(_node(ready)))

    def remove_pod(self) -> None:
        """``kubectl delete pod --force``: the pod is gone at once."""

        def remove() -> None:
            for pod in list(self._store.all(PODS)):
                self._store.remove(pod)

        self._do(remove)

    def rotate_token(self, token: str) -> None:
        """From now on only this token is valid."""
        self._do(lambda: setattr(self._api, "token", token))

    def miss_deadline(self, job: Object) -> None:
        """``activeDeadlineSeconds`` is over."""
        self._do(
            lambda: self._controller.fail(
                self._current(job), "DeadlineExceeded", "Job was active longer than specified deadline"
            )
        )

    def suspend_new_jobs(self) -> None:
        """What Kueue's webhook does: Jobs with a queue stay suspended until they are admitted."""

        def suspend(change: Change) -> None:
            queued = "kueue.x-k8s.io/queue-name" in labels_of(change.object)
            if change.kind is JOBS and change.type == "ADDED" and queued:
                change.object["spec"]["suspend"] = True

        self._do(lambda: self._store.listen(suspend))

    def admit(self, job: Object) -> None:
        """Kueue lets a Job run."""
        self.edit(job, lambda found: found["spec"].update(suspend=False))

    def script(self, image: str, script: Script) -> None:
        """What pods of this image go through; see :mod:`harness.kube.scripts` for those that have a name."""
        self._do(lambda: self._kubelet.scripts.__setitem__(image, script))

    def refuse_pods(self) -> None:
        """Warn when Jobs are created and refuse their pods, as Pod Security does."""

        def refuse() -> None:
            self._controller.refuses_pods = True
            self._api.warning = 'would violate PodSecurity "restricted:latest"'

        self._do(refuse)

    def end_pod(self, pod: Object, code: int) -> None:
        """The adapter of a pod exits."""
        self._do(lambda: PodScript(self._store, self._logs, pod).exits(code))

    def bookmark_interval(self, interval_s: float) -> None:
        self._do(lambda: setattr(self._api.watches, "bookmark_s", interval_s))

    def pod_grace(self, grace_s: float) -> None:
        """How long deleted pods may linger."""
        self._do(lambda: setattr(self._kubelet, "grace_s", grace_s))

    def grant(self, rights: Rights) -> None:
        self._do(lambda: setattr(self._api, "rights", rights))

    def inject(self, fault: Fault) -> Fault:
        self._do(lambda: self._faults.add(fault))
        return fault

    def heal(self) -> None:
        """Nothing that was injected strikes any more, and an outage is over."""
        self._do(self._faults.clear)

    def hold(self, verb: str, resource: str, *, after: bool = False) -> Hold:
        """Keep the next call waiting, before or after it takes effect."""
        hold = Hold(verb, resource, after=after)
        self.inject(hold)
        return hold

    def outage(self, *, on: bool = True) -> None:
        """Cut every connection, also those of watches, until it is over."""

        def cut() -> None:
            self._faults.outage = on
            if on:
                self._api.watches.drop()

        self._do(cut)

    def drop_watches(self, *, compact: bool = False) -> None:
        """Cut open watches; ``compact`` makes the versions they know too old as well."""

        def drop() -> None:
            if compact:
                self._store.version += 1
                self._store.compact()
            self._api.watches.drop()

        self._do(drop)

    def lag(self, kind: Kind | None) -> None:
        """From now on the memory of the API server, which ``resourceVersion=0`` reads, gets no changes of this kind."""
        self._do(lambda: self._api.resources.lag(kind))

    def until_empty(self, **labels: str) -> None:
        wait_until(lambda: not self.leftovers(**labels), f"nothing is left: {self.leftovers(**labels)}")

    # inside

    def _current(self, thing: Object) -> Object:
        kind = next(kind for kind in (JOBS, PODS, CONFIG_MAPS, SECRETS) if kind.kind == thing["kind"])
        return self._store.get(kind, thing["metadata"]["namespace"], name_of(thing))

    async def _start(self) -> None:
        self._store.listen(self._changed)
        self._store.put(_node("True"))
        for name in self._namespaces:
            metadata = {"name": name, "uid": f"namespace-{name}"}
            self._store.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self._runner = web.AppRunner(
            self._api.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        self._api.watches.drop()
        await self._kubelet.close()
        await self._proxy.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _changed(self, change: Change) -> None:
        self._dirty.append(change.object)
        if not self._syncing:
            self._syncing = True
            self._loop.call_soon(self._sync)

    def _sync(self) -> None:
        """Let the controllers do their part; it is called again if that has changed something."""
        self._syncing = False
        changed, self._dirty = self._dirty, []
        garbage.collect(self._store, changed)
        self._end_namespaces()
        self._controller.sync(changed)
        self._kubelet.sync(changed)

    def _end_namespaces(self) -> None:
        for namespace in [found for found in self._store.all(NAMESPACES) if terminating(found)]:
            if next(self._store.all(namespace=name_of(namespace)), None) is None:
                self._store.remove(namespace)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _do(self, work: Callable[[], T]) -> T:
        async def call() -> T:
            return work()

        return self._run(call())


def _node(ready: str) -> Object:
    status = {"conditions": [{"type": "Ready", "status": ready, "reason": "NodeStatusUnknown"}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "uid": NODE}, "status": status}
