"""MLflow runs of an SDK adapter and of the server, in one experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import Config, RunningServer, wait_until
from harness.mlflow import MlflowServer, pairs
from harness.sdk import LOOPBACK_WITHOUT_PROXY, Sdk

pytestmark = pytest.mark.slow

ADAPTER = Path(__file__).parent / "adapter" / "main.py"


def test_both_report_into_one_experiment_and_their_runs_refer_to_each_other(
    sdk: Sdk, mlflow: MlflowServer, tmp_path: Path
):
    config = Config(tmp_path / "config", mlflow={"tracking_uri": mlflow.url, "token": "not needed"})
    config.provider(
        f"exec '{sdk.python}' '{ADAPTER}'",
        "plain",
        provider_id="sdk",
        benchmark={"primary_score": {"metric": "acc"}, "pass_criteria": {"threshold": 0.5}},
    )
    with RunningServer(config.folder, env=LOOPBACK_WITHOUT_PROXY) as server:
        experiment = {"name": " shared ", "tags": [{"key": "team", "value": "blue"}]}
        job_id = server.submit("plain", provider="sdk", experiment=experiment)
        job = server.finished(job_id)
        assert job["status"]["state"] == "completed", server.logs(job_id)
        wait_until(
            lambda: server.job(job_id)["results"].get("exports", [{}])[0].get("state") == "succeeded",
            "the server's run",
            60,
        )
        (export,) = server.job(job_id)["results"]["exports"]
    assert mlflow.experiments() == ["Default", "shared"]
    runs = {run["info"]["run_id"]: run for run in mlflow.runs(mlflow.experiment("shared")["experiment_id"])}
    ours = runs.pop(export["reference"])
    ((adapters_id, adapters),) = runs.items()

    assert job["results"]["benchmarks"][0]["mlflow_run_id"] == adapters_id
    assert adapters["info"]["run_name"] == f"{job_id}_0"
    assert pairs(adapters["data"]["metrics"])["acc"] == 0.75
    tags = pairs(adapters["data"]["tags"])
    assert (tags["team"], tags["mlflow.parentRunId"]) == ("blue", export["reference"])

    tags = pairs(ours["data"]["tags"])
    assert (tags["team"], tags["plain/mlflow_run_id"]) == ("blue", adapters_id)
    assert pairs(ours["data"]["metrics"])["plain/acc"] == 0.75
    assert {run["info"]["status"] for run in (ours, adapters)} == {"FINISHED"}
    card = mlflow.artifact(export["reference"], "evaluation-card.json")
    assert card["results"]["benchmarks"][0]["mlflow_run_id"] == adapters_id
