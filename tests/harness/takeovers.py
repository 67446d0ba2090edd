"""Three servers whose leader dies while jobs are exported, and what receives the exports."""

from __future__ import annotations

import base64
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from harness.addresses import private_address
from harness.holding_proxy import Held, HoldingProxy
from harness.kube import TENANT, FakeCluster
from harness.mlflow import MlflowServer
from harness.postgres import RunningPostgres
from harness.receiver import Receiver
from harness.registry import RunningRegistry
from harness.replicas import JOBS, TAKEOVER_S, Replicas, eventually
from harness.server import RunningServer, job_request
from harness.tcp_proxy import TcpProxy
from harness.waiting import wait_until

EXPERIMENT = "takeovers"
REPOSITORY = "team/results"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
METRICS = {"a": 0.25, "b": 1.25}
"""The metric ``acc`` of each benchmark."""
PUSH_SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "push", "namespace": TENANT},
    "data": {".dockerconfigjson": base64.b64encode(b"{}").decode()},
}
HOOK_SECRET = {"HOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}


Death = Callable[["Exporting", RunningServer], None]


class Exporting:
    """Three servers, and what they export to: MLflow and a registry behind proxies that hold requests, and a receiver."""

    def __init__(self, folder: Path, mlflow: MlflowServer, stack: ExitStack) -> None:
        self.mlflow = mlflow
        postgres = stack.enter_context(RunningPostgres())
        self.cluster = stack.enter_context(FakeCluster())
        self.cluster.seed(PUSH_SECRET)
        self.registry = stack.enter_context(RunningRegistry(folder / "registry"))
        self.to_mlflow = stack.enter_context(HoldingProxy(mlflow.port))
        self.to_registry = stack.enter_context(HoldingProxy(self.registry.port, private_address()))
        self.receiver = stack.enter_context(Receiver())
        self._to_database = [stack.enter_context(TcpProxy(postgres.port)) for _ in range(3)]
        host = self.to_registry.host
        webhook = {"url": self.receiver.hook, "events": ["job.completed"], "allow_private_addresses": True}
        self.replicas = stack.enter_context(
            Replicas(
                folder,
                postgres,
                self.cluster,
                ports=[each.port for each in self._to_database],
                env={"MLFLOW_TRACKING_URI": self.to_mlflow.url, **HOOK_SECRET},
                env_mappings={"HOOK_SECRET": "webhook.secret"},
                webhook=webhook,
                oci={"insecure_registries": [host], "allowed_registries": [host]},
                finalizer={"retry_most": "1s"},
            )
        )

    @property
    def request(self) -> dict[str, Any]:
        """The body of a create: a job that is exported to all."""
        coordinates = {"oci_host": f"http://{self.to_registry.host}", "oci_repository": REPOSITORY}
        exports = {"oci": {"coordinates": coordinates, "k8s": {"connection": "push"}}}
        return job_request(*METRICS, experiment={"name": EXPERIMENT}, exports=exports)

    def under_way(self, leader: RunningServer, *, after: bool) -> tuple[str, list[Held]]:
        """A completed job whose exports are held: the creation of a run and the manifest, or the answers to them."""
        holds = [
            self.to_mlflow.hold("POST", "/runs/create", after=after),
            self.to_registry.hold("PUT", "/manifests/", after=after),
        ]
        answer = leader.call("POST", JOBS, self.request)
        assert answer.status == 202, answer
        job_id = answer.body["resource"]["id"]
        for index, (name, value) in enumerate(METRICS.items()):
            reported = leader.report(job_id, "completed", index=index, benchmark=name, metrics={"acc": value})
            assert reported.status == 204
        for hold in holds:
            hold.reached()
        return job_id, holds

    def database_of(self, server: RunningServer) -> TcpProxy:
        return self._to_database[self.replicas.servers.index(server)]

    def until_exported(self, server: RunningServer, job_id: str) -> dict[str, Any]:
        """Wait until a server shows that all exports of a job have succeeded; returns them by name."""

        def succeeded() -> dict[str, Any]:
            job = eventually(server, "GET", f"{JOBS}/{job_id}").body
            exports = job["results"].get("exports", [])
            return {each["name"]: each for each in exports if each["state"] == "succeeded"}

        wait_until(lambda: len(succeeded()) == 2, "its exports", TAKEOVER_S)
        return succeeded()

    def revive(self, server: RunningServer, die: Death) -> None:
        """Undo a death, and wait until the server follows another one."""
        self.database_of(server).heal()
        if die is terminate:
            assert server.process is not None
            assert server.process.wait(60) == 0
        if server in self.replicas.running:
            psutil.Process(server.pid).send_signal(signal.SIGCONT)
        else:
            server.start()
        wait_until(lambda: self.replicas.role(server) == "follower", "it follows", TAKEOVER_S)

    def runs(self, job_id: str) -> list[dict[str, Any]]:
        """The runs of a job that are not deleted."""
        query = {
            "experiment_ids": [self.mlflow.experiment(EXPERIMENT)["experiment_id"]],
            "filter": f"tags.evaluation_job_id = '{job_id}'",
        }
        return self.mlflow.request("POST", "/api/2.0/mlflow/runs/search", query).get("runs", [])

    def check_effects(self, exports: Mapping[str, dict[str, Any]]) -> None:
        """Each job has one run, with each metric once, and one artifact; ``exports`` are those of each job by name."""
        pushed = Counter(path for path, _ in self._manifests)
        for job_id, export in exports.items():
            wait_until(lambda: len(self.runs(job_id)) == 1, f"one run of {job_id}", TAKEOVER_S)  # noqa: B023
            (run,) = self.runs(job_id)
            assert run["info"]["run_id"] == export["mlflow"]["reference"]
            assert run["info"]["status"] in ("FINISHED", "KILLED")
            if run["info"]["status"] == "FINISHED":
                for name, value in METRICS.items():
                    assert self._history(run["info"]["run_id"], f"{name}/acc") == [value]
            path = f"/v2/{REPOSITORY}/manifests/evaluation-card-{job_id}"
            answer = self.registry.call("GET", path, {"Accept": MANIFEST})
            assert answer.headers["docker-content-digest"] == export["oci"]["digest"]
            assert pushed[path] == 1, "one artifact, however often it was pushed"

    def delete_all(self, server: RunningServer) -> None:
        """Delete all jobs, and wait until nothing of any job is left in the cluster."""
        while items := server.get(f"{JOBS}?limit=100")["items"]:
            for item in items:
                eventually(server, "DELETE", f"{JOBS}/{item['resource']['id']}?hard_delete=true")
        self.cluster.until_empty()

    @property
    def _manifests(self) -> set[tuple[str, bytes]]:
        requests = self.to_registry.requests
        return {
            (each.path, each.body) for each in requests if each.method == "PUT" and "/manifests/" in each.path
        }

    def _history(self, run_id: str, metric: str) -> list[float]:
        path = f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key={metric}"
        return [each["value"] for each in self.mlflow.request("GET", path)["metrics"]]

    @property
    def message_ids(self) -> Counter[str]:
        """How many different messages there are for each completed job."""
        ids = {(got.document["data"]["id"], got.headers["webhook-id"]) for got in self.receiver.requests}
        return Counter(job_id for job_id, _ in ids)


def kill(_: Exporting, leader: RunningServer) -> None:
    leader.kill()


def suspend(_: Exporting, leader: RunningServer) -> None:
    psutil.Process(leader.pid).send_signal(signal.SIGSTOP)


def terminate(_: Exporting, leader: RunningServer) -> None:
    psutil.Process(leader.pid).send_signal(signal.SIGTERM)


def cut_off(exporting: Exporting, leader: RunningServer) -> None:
    exporting.database_of(leader).partition()


DEATHS: tuple[Death, ...] = (kill, suspend, terminate, cut_off)
"""What ends the leadership of a server; :meth:`Exporting.revive` undoes it."""


class Acknowledged(NamedTuple):
    """What servers answered with success: ids of jobs. ``exporting`` are those that are exported."""

    created: set[str]
    exporting: set[str]
    completed: set[str]
    cancelled: set[str]
    deleted: set[str]

    @property
    def writes(self) -> int:
        return (
            len(self.created) + len(METRICS) * len(self.completed) + len(self.cancelled) + len(self.deleted)
        )


class RecordingClient(threading.Thread):
    """Creates, completes, cancels and deletes jobs on random servers, and records what was acknowledged."""

    def __init__(self, exporting: Exporting, seed: int) -> None:
        super().__init__(name=f"client-{seed}")
        self._exporting = exporting
        self._random = random.Random(seed)  # noqa: S311  of a test
        self._seed = seed
        self.stop = threading.Event()
        self.acknowledged = Acknowledged(set(), set(), set(), set(), set())
        self.unexpected: list[str] = []

    def run(self) -> None:
        number = 0
        while not self.stop.wait(0.05):
            number += 1
            self._work(f"{self._seed}-{number}")

    def _work(self, key: str) -> None:
        known = self.acknowledged
        is_exported = self._random.random() < 0.25
        body = self._exporting.request if is_exported else job_request(*METRICS)
        created = self._until_accepted("POST", JOBS, body, {"Idempotency-Key": key})
        if created is None:
            return
        job_id: str = created["resource"]["id"]
        if job_id in known.created:
            self.unexpected.append(f"{job_id} was created before")
        known.created.add(job_id)
        if is_exported:
            known.exporting.add(job_id)
        what = self._random.random()
        path = f"{JOBS}/{job_id}"
        if what < 0.2:
            if self._until_accepted("DELETE", path) is not None:
                known.cancelled.add(job_id)
        elif what < 0.4:
            known.exporting.discard(job_id)
            if self._until_accepted("DELETE", f"{path}?hard_delete=true", gone=(404,)) is not None:
                known.deleted.add(job_id)
        elif all(self._reported(path, index, name) for index, name in enumerate(METRICS)):
            known.completed.add(job_id)

    def _reported(self, path: str, index: int, name: str) -> bool:
        event = {"provider_id": "scripted", "id": name, "benchmark_index": index, "status": "completed"}
        body = {"benchmark_status_event": {**event, "metrics": {"acc": METRICS[name]}}}
        return self._until_accepted("POST", f"{path}/events", body) is not None

    def _until_accepted(
        self, method: str, path: str, body: Any = None, headers: Any = None, gone: Collection[int] = ()
    ) -> Any:
        """The body of the first answer below 500, from any server; None if the test ends before."""
        while not self.stop.is_set():
            server = self._random.choice(self._exporting.replicas.servers)
            with suppress(OSError, AssertionError):  # it is dead, or suspended
                answer = server.call(method, path, body, headers)
                if answer.status in (200, 202, 204, *gone):
                    return answer.body or {}
                if answer.status < 500 and not _is_refusal_of_mlflow(answer):
                    self.unexpected.append(f"{method} {path}: {answer.status} {answer.body}")
                    return None
            self.stop.wait(0.02)
        return None


def _is_refusal_of_mlflow(answer: Any) -> bool:
    """A create is refused while MLflow does not respond in time."""
    return answer.status == 400 and answer.refusal[1] == "mlflow_request_failed"
