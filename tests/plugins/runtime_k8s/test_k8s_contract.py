"""The contract of a runtime, over Jobs of a cluster: with the operator's rights, and with watches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalhub_server.plugins import BenchmarkRun, Runtime
from evalhub_server.testing.runtime_case import AdapterInput
from evalhub_server.testing.runtime_contract import RuntimeContract
from harness.kube import FakeCluster
from harness.kube.cluster import TENANT
from harness.kube.kinds import CONFIG_MAPS, PODS
from harness.kube.pods import ADAPTER
from harness.kube.rights import WITH_WATCH
from harness.kube.runtime import a_run, a_runtime


@pytest.mark.usefixtures("kubeconfig")
class TestKubernetesRuntime(RuntimeContract):
    starts_processes = False
    tenants = (TENANT, "default")

    @pytest.fixture(autouse=True)
    def fake_cluster(self, cluster: FakeCluster, kubeconfig: Path) -> None:
        self.cluster = cluster

    async def input_of(self, runtime: Runtime, run: BenchmarkRun) -> AdapterInput:
        await self.ended(runtime, run)
        (pod,) = self.cluster.objects(PODS)
        (adapter,) = [each for each in pod["spec"]["containers"] if each["name"] == ADAPTER]
        environment = {each["name"]: each.get("value", "") for each in adapter["env"]}
        (config_map,) = self.cluster.objects(CONFIG_MAPS)
        return AdapterInput(environment, json.loads(config_map["data"]["job.json"]))

    def make_runtime(self, directory: Path) -> Runtime:
        return a_runtime()

    def succeeds(self) -> BenchmarkRun:
        return a_run("exits:0")

    def fails_with_3(self) -> BenchmarkRun:
        return a_run("exits:3")

    def runs_until_stopped(self) -> BenchmarkRun:
        return a_run("runs")

    def prints(self, text: str) -> BenchmarkRun:
        return a_run("exits:0", env={"TEXT": f"{text}\n"})

    def cannot_start(self) -> BenchmarkRun:
        return a_run("exits:0", tenant="no-such-namespace")


@pytest.mark.slow
class TestWithWatches(TestKubernetesRuntime):
    @pytest.fixture(autouse=True)
    def may_watch(self, cluster: FakeCluster) -> None:
        cluster.grant(WITH_WATCH)
