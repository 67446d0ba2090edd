"""The contract of a tracker, over a real MLflow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from evalhub_server.plugins import PluginContext, TrackedExperiment, Tracker
from evalhub_server.testing import TrackerContract
from evalhub_tracking_mlflow.plugin import make_tracker
from evalhub_tracking_mlflow.settings import MlflowSettings
from harness.mlflow import MlflowServer, pairs
from harness.outages import Switchable

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proxy(mlflow: MlflowServer) -> Iterator[Switchable]:
    with Switchable(mlflow.port) as running:
        yield running


class TestMlflowTracker(TrackerContract):
    secrets = ("token-for-mlflow",)

    @pytest.fixture(autouse=True)
    def tracking_server(self, mlflow: MlflowServer, proxy: Switchable) -> None:
        self.mlflow, self.proxy = mlflow, proxy

    def make_tracker(self, directory: Path) -> Tracker:
        settings = MlflowSettings(tracking_uri=self.proxy.url, token=self.secrets[0])
        return make_tracker(settings, PluginContext())

    async def runs(self, experiment: TrackedExperiment, tenant: str) -> Mapping[str, object]:
        return {
            run["info"]["run_id"]: (
                run["info"]["status"],
                pairs(run["data"].get("metrics", [])),
                pairs(run["data"].get("tags", [])),
                pairs(run["data"].get("params", [])),
            )
            for run in self.mlflow.runs(experiment.id)
        }

    async def open_runs(self, experiment: TrackedExperiment, tenant: str) -> Collection[str]:
        runs = self.mlflow.runs(experiment.id)
        return [run["info"]["run_id"] for run in runs if run["info"]["status"] == "RUNNING"]

    def unavailable(self) -> AbstractContextManager[object]:
        return self.proxy.answering(503)

    async def delete_experiment(self, experiment: TrackedExperiment, tenant: str) -> None:
        self.mlflow.request("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": experiment.id})
