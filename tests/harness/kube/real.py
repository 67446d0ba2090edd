"""A genuine API server with etcd and, if given, a controller manager, from programs that the environment names.

=============================  ==================================================
KUBE_APISERVER_BIN, ETCD_BIN   both needed
KUBE_CONTROLLER_MANAGER_BIN    makes pods of Jobs and collects garbage
=============================  ==================================================

There is no kubelet: pods stay pending until a test sets their status, as their node would.

Or any cluster: EVALHUB_TEST_KUBECONFIG names a kubeconfig whose user may create a namespace. Tests that
set the status of pods are skipped then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientError
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration

from harness.kube.cluster import TENANT
from harness.kube.rights import OPERATOR, USER
from harness.waiting import free_port, wait_until

ADMIN_TOKEN = "a-token-of-the-administrator"
SERVER_TOKEN = "a-token-of-the-server"
MERGE = "application/merge-patch+json"


def available() -> bool:
    return bool(
        os.environ.get("EVALHUB_TEST_KUBECONFIG")
        or (os.environ.get("KUBE_APISERVER_BIN") and os.environ.get("ETCD_BIN"))
    )


class RealCluster:
    """``admin`` and ``server`` are kubeconfigs: for what a test does, and for the server under test."""

    def __init__(self, admin: Path, server: Path, *, has_controllers: bool) -> None:
        self.server = server
        self.has_controllers = has_controllers
        self._admin = admin
        self._threads = ThreadPoolExecutor(1)  # a test may itself run in an event loop

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The answer as JSON; None for 404. Raises what the client raises for every other refusal."""
        return self._threads.submit(asyncio.run, self._call(method, path, body, content_type)).result(60)

    async def _call(self, method: str, path: str, body: Any, content_type: str) -> Any:
        configuration = Configuration()
        await config.load_kube_config(str(self._admin), client_configuration=configuration)
        async with ApiClient(configuration) as client:
            try:
                answer = await client.call_api(
                    path,
                    method,
                    header_params={"Content-Type": content_type, "Accept": "application/json"},
                    body=body,
                    auth_settings=["BearerToken"],
                    response_types_map={200: "object", 201: "object", 202: "object"},
                )
            except ApiException as error:
                if error.status == 404:
                    return None
                raise
        return answer[0]

    def ready(self) -> bool:
        try:
            return self.call("GET", "/api/v1/namespaces/default") is not None
        except (ApiException, ClientError, OSError):
            return False

    def items(self, path: str, **labels: str) -> list[Any]:
        selector = ",".join(f"{key}%3D{value}" for key, value in labels.items())
        return self.call("GET", f"{path}?labelSelector={selector}")["items"]

    def jobs(self, **labels: str) -> list[Any]:
        return self.items(f"/apis/batch/v1/namespaces/{TENANT}/jobs", app="evalhub", **labels)

    def pods(self, **labels: str) -> list[Any]:
        return self.items(f"/api/v1/namespaces/{TENANT}/pods", app="evalhub", **labels)

    def leftovers(self, **labels: str) -> list[str]:
        found = self.jobs(**labels) + self.pods(**labels)
        for plural in ("configmaps", "secrets"):
            found += self.items(f"/api/v1/namespaces/{TENANT}/{plural}", app="evalhub", **labels)
        return [thing["metadata"]["name"] for thing in found]

    def pod_ends(self, pod: Any, code: int, message: str = "") -> None:
        """What a kubelet reports of a pod whose adapter has ended."""
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [
                {
                    "name": "adapter",
                    "image": "i",
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
            ],
        }
        path = f"/api/v1/namespaces/{TENANT}/pods/{pod['metadata']['name']}/status"
        self.call("PATCH", path, {"status": status}, MERGE)

    def make_namespace(self, name: str = TENANT) -> None:
        """A tenant's, with Pod Security ``restricted``."""
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        if self.call("GET", f"/api/v1/namespaces/{name}") is None:
            self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        if self.has_controllers:
            wait_until(lambda: self.call("GET", account), "the namespace has its service account")

    def give_rights(self, namespace: str = TENANT) -> None:
        """Exactly the operator's, to the server's user."""
        rules = [
            {"apiGroups": [group], "resources": [resource], "verbs": sorted(verbs)}
            for (group, resource), verbs in OPERATOR.items()
        ]
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        self.call("POST", f"{rbac}/roles", {"metadata": {"name": "server"}, "rules": rules})
        group = "rbac.authorization.k8s.io"
        binding = {
            "metadata": {"name": "server"},
            "subjects": [{"kind": "User", "name": USER, "apiGroup": group}],
            "roleRef": {"kind": "Role", "name": "server", "apiGroup": group},
        }
        self.call("POST", f"{rbac}/rolebindings", binding)

    def take_rights(self, namespace: str) -> None:
        """Delete the RoleBinding of the server's user."""
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        self.call("DELETE", f"{rbac}/rolebindings/server")

    def delete_namespace(self, name: str) -> None:
        self.call("DELETE", f"/api/v1/namespaces/{name}")

    def runs_on(self, pod: Any, node: str) -> None:
        """The pod runs on a new node without a kubelet."""
        self.call("POST", "/api/v1/nodes", {"metadata": {"name": node}})
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        path = f"/api/v1/namespaces/{TENANT}/pods/{pod['metadata']['name']}"
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}}
        self.call("POST", f"{path}/binding", {**body, "target": target})
        self.call("PATCH", f"{path}/status", {"status": {"phase": "Running"}}, MERGE)

    def taint(self, pod: Any) -> None:
        """What the taint manager does to a pod of an unreachable node."""
        path = f"/api/v1/namespaces/{TENANT}/pods/{pod['metadata']['name']}"
        disruption = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
        }
        self.call("PATCH", f"{path}/status", {"status": {"conditions": [disruption]}}, MERGE)
        self.call("DELETE", f"{path}?gracePeriodSeconds=1")

    def forget_node(self, node: str) -> None:
        self.call("DELETE", f"/api/v1/nodes/{node}")


@contextlib.contextmanager
def real_cluster(folder: Path) -> Iterator[RealCluster]:
    """The cluster of the given kubeconfig, or one that is started in ``folder``."""
    given = os.environ.get("EVALHUB_TEST_KUBECONFIG")
    if given:
        cluster = RealCluster(Path(given), Path(given), has_controllers=False)
        cluster.make_namespace()
        yield cluster
        return
    with contextlib.ExitStack() as stack:
        client, peer, secure = free_port(), free_port(), free_port()
        etcd_url = f"http://127.0.0.1:{client}"
        _run(
            stack,
            folder / "etcd.log",
            os.environ["ETCD_BIN"],
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )
        key = folder / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        tokens = folder / "tokens.csv"
        tokens.write_text(f'{ADMIN_TOKEN},admin,1,"system:masters"\n{SERVER_TOKEN},{USER},2\n', "utf-8")
        _run(
            stack,
            folder / "apiserver.log",
            os.environ["KUBE_APISERVER_BIN"],
            f"--etcd-servers={etcd_url}",
            f"--secure-port={secure}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder / 'certificates'}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        )
        admin = _kubeconfig(folder / "admin.yaml", secure, ADMIN_TOKEN)
        server = _kubeconfig(folder / "server.yaml", secure, SERVER_TOKEN)
        manager = os.environ.get("KUBE_CONTROLLER_MANAGER_BIN", "")
        cluster = RealCluster(admin, server, has_controllers=bool(manager))
        wait_until(cluster.ready, "the API server", 180)
        if manager:
            _run(
                stack,
                folder / "controllers.log",
                manager,
                f"--kubeconfig={admin}",
                f"--authentication-kubeconfig={admin}",
                f"--authorization-kubeconfig={admin}",
                "--leader-elect=false",
                f"--secure-port={free_port()}",
                f"--cert-dir={folder / 'controllers'}",
                f"--service-account-private-key-file={key}",
            )
        cluster.make_namespace()
        cluster.give_rights()
        yield cluster


def _kubeconfig(file: Path, port: int, token: str) -> Path:
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "real",
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "user"}}],
        "clusters": [{"name": "real", "cluster": cluster}],
        "users": [{"name": "user", "user": {"token": token}}],
    }
    file.write_text(yaml.safe_dump(document), "utf-8")
    return file


def _run(stack: contextlib.ExitStack, log: Path, *command: str) -> None:
    output = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def end() -> None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
