"""Jobs of a real server in a real MLflow, which is also killed and restarted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evalhub_server.models.common import State
from evalhub_server.plugins import PluginContext
from evalhub_server.testing.builders import a_job
from evalhub_tracking_mlflow.content import milliseconds, run_tags
from evalhub_tracking_mlflow.plugin import make_tracker
from evalhub_tracking_mlflow.settings import MlflowSettings
from harness import Config, RunningServer, free_port, wait_until
from harness.mlflow import MlflowServer, pairs
from harness.server import API, job_request

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).parents[2] / "fixtures" / "rest" / "mlflow-calls.json"
RESULT = '{"acc": 0.75, "acc,none": 3, "label": "good"}'
TESTED = {"primary_score": {"metric": "acc"}, "pass_criteria": {"threshold": 0.5}}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config(
        tmp_path / "config",
        supervisor={"exit_grace": "300ms"},
        finalizer={"retry_most": "200ms", "max_attempts": 1_000_000},
    )
    made.scripted("env:MLFLOW_TRACKING_URI", "running", f"completed:{RESULT}", benchmarks=("b", "c"))
    made.scripted("running", "hang", provider_id="hangs")
    made.scripted("running", "failed:boom", provider_id="fails")
    return made


@pytest.fixture
def server(config: Config, mlflow: MlflowServer, tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(
        config.folder, data_dir=tmp_path / "data", env={"MLFLOW_TRACKING_URI": mlflow.url}
    ) as running:
        yield running
        for job in running.get(f"{API}/jobs?limit=1000")["items"]:
            running.call("DELETE", f"{API}/jobs/{job['resource']['id']}")


def export(server: RunningServer, job_id: str) -> dict[str, Any]:
    exports = server.job(job_id)["results"].get("exports", [])
    return exports[0] if exports else {}


def exported(server: RunningServer, job_id: str) -> dict[str, Any]:
    """The job once its export has succeeded."""
    wait_until(lambda: export(server, job_id).get("state") == "succeeded", f"the export of {job_id}", 60)
    return server.job(job_id)


def recorded_calls() -> dict[str, dict[str, Any]]:
    """The request bodies of the released server, by the last part of their paths."""
    calls = json.loads(RECORDED.read_text("utf-8"))
    bodies = {call["p"].rpartition("mlflow/")[2]: call["b"] for call in calls if call["m"] == "POST"}
    return {path: json.loads(body) for path, body in bodies.items()}


def test_a_finished_job_is_a_run_with_the_released_servers_content_and_more(
    server: RunningServer, mlflow: MlflowServer
):
    benchmarks = [
        {"id": "b", "provider_id": "scripted", "parameters": {"x": 1, "empty": "", "no": None}, **TESTED},
        {"id": "c", "provider_id": "scripted", **TESTED},
        {"id": "b", "provider_id": "scripted"},
    ]
    job_id = server.submit(
        name="spec",
        benchmarks=benchmarks,
        experiment={"name": "  e e  ", "tags": [{"key": "k", "value": "v"}]},
    )
    job = exported(server, job_id)
    experiment = mlflow.experiment("e e")
    released = recorded_calls()

    theirs = {**pairs(released["experiments/create"]["tags"]), "evaluation_job_id": job_id}
    assert theirs.items() <= pairs(experiment["tags"]).items()
    assert job["resource"]["mlflow_experiment_id"] == experiment["experiment_id"]
    assert job["results"]["mlflow_experiment_url"] == f"{mlflow.url}/api/2.0/mlflow/experiments"
    page = f"{mlflow.url}/#/experiments/{experiment['experiment_id']}"
    assert job["results"]["mlflow_experiment_link"] == page

    (run,) = mlflow.runs(experiment["experiment_id"])
    assert run["info"]["run_name"] == released["runs/create"]["run_name"]
    theirs = {**pairs(released["runs/create"]["tags"]), "evaluation_job_id": job_id}
    tags = pairs(run["data"]["tags"])
    assert theirs.items() <= tags.items()
    assert (tags["evaluation_job_pass"], tags["evaluation_job_state"], tags["k"]) == (
        "true",
        "completed",
        "v",
    )
    assert (run["info"]["status"], run["info"]["lifecycle_stage"]) == ("FINISHED", "active")
    assert run["info"]["end_time"] >= run["info"]["start_time"]
    assert pairs(run["data"]["metrics"]) == {
        "overall_score": 0.75,
        "overall_pass": 1.0,
        **{f"{b}/{m}": v for b in ("b.0", "b.2", "c") for m, v in {"acc": 0.75, "acc_none": 3.0}.items()},
    }
    params = pairs(run["data"]["params"])
    assert params["b.0/x"] == "1"
    assert params["b.0/no"] == "null"
    assert params["model_name"] == "m"
    assert mlflow.artifact(run["info"]["run_id"], "evaluation-card.json") == server.get(
        f"{API}/jobs/{job_id}/card"
    )
    assert export(server, job_id) == {
        "kind": "tracker",
        "name": "mlflow",
        "state": "succeeded",
        "attempts": 1,
        "reference": run["info"]["run_id"],
        "link": f"{page}/runs/{run['info']['run_id']}",
    }
    assert f"MLFLOW_TRACKING_URI={mlflow.url}" in server.logs(job_id)


def test_the_answer_to_a_create_has_no_key_that_the_released_servers_has_not(server: RunningServer):
    body = job_request(experiment={"name": "strict"})
    answer = server.call("POST", f"{API}/jobs", body)
    assert answer.status == 202
    assert answer.body["results"].keys() == {"mlflow_experiment_url"}
    exported(server, answer.body["resource"]["id"])


def test_many_creates_of_one_experiment_make_one_experiment(server: RunningServer, mlflow: MlflowServer):
    with ThreadPoolExecutor(12) as pool:
        jobs = list(pool.map(lambda _: server.submit(experiment={"name": "crowded"}), range(12)))
    ids = {server.job(job_id)["resource"]["mlflow_experiment_id"] for job_id in jobs}
    assert ids == {mlflow.experiment("crowded")["experiment_id"]}
    for job_id in jobs:
        exported(server, job_id)
    runs = mlflow.runs(ids.pop())
    assert sorted(pairs(run["data"]["tags"])["evaluation_job_id"] for run in runs) == sorted(jobs)


def test_failed_and_cancelled_jobs_are_runs_that_ended_so(server: RunningServer, mlflow: MlflowServer):
    failed = server.submit(provider="fails", experiment={"name": "ends"})
    cancelled = server.submit(provider="hangs", experiment={"name": "ends"})
    server.in_state(cancelled, "running")
    assert server.call("DELETE", f"{API}/jobs/{cancelled}").status == 204
    exported(server, failed)
    exported(server, cancelled)
    runs = mlflow.runs(mlflow.experiment("ends")["experiment_id"])
    ends = {pairs(run["data"]["tags"])["evaluation_job_id"]: run["info"]["status"] for run in runs}
    assert ends == {failed: "FAILED", cancelled: "KILLED"}


def test_an_mlflow_that_is_down_refuses_creates_and_stores_nothing(
    config: Config,
):
    with RunningServer(
        config.folder, env={"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    ) as server:
        assert any("MLflow does not answer" in line["msg"] for line in server.log_lines())
        body = job_request(experiment={"name": "e"})
        answer = server.call("POST", f"{API}/jobs", body)
        assert answer.refusal == (400, "mlflow_request_failed")
        assert server.get(f"{API}/jobs")["total_count"] == 0
        assert server.finished(server.submit())["status"]["state"] == "completed"


def test_an_experiment_that_is_deleted_in_mlflow_is_refused(server: RunningServer, mlflow: MlflowServer):
    exported(server, server.submit(experiment={"name": "gone"}))
    gone = mlflow.experiment("gone")["experiment_id"]
    mlflow.request("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": gone})
    body = job_request(experiment={"name": "gone"})
    answer = server.call("POST", f"{API}/jobs", body)
    assert answer.refusal == (400, "mlflow_request_failed")
    assert "'gone' is deleted in MLflow; restore it there" in answer.body["message"]


def test_an_experiment_deleted_while_its_job_runs_may_be_restored(
    server: RunningServer, mlflow: MlflowServer
):
    job_id = server.submit(provider="hangs", experiment={"name": "vanishing"})
    server.in_state(job_id, "running")
    vanishing = mlflow.experiment("vanishing")["experiment_id"]
    mlflow.request("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": vanishing})
    server.call("DELETE", f"{API}/jobs/{job_id}")
    wait_until(lambda: export(server, job_id).get("attempts", 0) >= 2, "two attempts")
    assert export(server, job_id)["state"] == "pending"
    assert "the experiment is deleted in MLflow; restore it there" in export(server, job_id)["error"]
    assert server.job(job_id)["status"]["state"] == "cancelled"
    mlflow.request("POST", "/api/2.0/mlflow/experiments/restore", {"experiment_id": vanishing})
    exported(server, job_id)
    (run,) = mlflow.runs(vanishing)
    assert run["info"]["status"] == "KILLED"


def test_the_card_reaches_an_artifact_store_that_only_mlflow_reaches(
    server: RunningServer, mlflow: MlflowServer, tmp_path: Path
):
    location = f"file://{tmp_path / 'elsewhere'}"
    job_id = server.submit(experiment={"name": "stored elsewhere", "artifact_location": location})
    run_id = exported(server, job_id)["results"]["exports"][0]["reference"]
    card = tmp_path / "elsewhere" / run_id / "artifacts" / "evaluation-card.json"
    assert json.loads(card.read_text("utf-8")) == server.get(f"{API}/jobs/{job_id}/card")


def test_an_mlflow_that_dies_in_the_middle_of_a_job_gets_the_run_when_it_is_back(
    config: Config, mlflow: MlflowServer, tmp_path: Path
):
    gate = tmp_path / "gate"
    config.scripted("running", f"await:{gate}", f"completed:{RESULT}", provider_id="gated")
    with RunningServer(config.folder, env={"MLFLOW_TRACKING_URI": mlflow.url}) as server:
        job_id = server.submit(provider="gated", experiment={"name": "outage"})
        server.in_state(job_id, "running")
        mlflow.kill()
        gate.touch()
        assert server.finished(job_id)["status"]["state"] == "completed"
        wait_until(lambda: export(server, job_id).get("attempts", 0) >= 2, "two attempts")
        assert export(server, job_id)["state"] == "pending"
        assert "Cannot connect" in export(server, job_id)["error"]
        adapter_said = server.logs(job_id).partition("\n")[2]
        assert adapter_said == "", "its report was neither refused nor lost"
        mlflow.start()
        exported(server, job_id)
        (run,) = mlflow.runs(mlflow.experiment("outage")["experiment_id"])
        assert run["info"]["status"] == "FINISHED"
        assert server.job(job_id)["status"]["state"] == "completed"


def test_a_server_killed_between_the_end_of_a_job_and_its_export_leaves_exactly_one_run(
    server: RunningServer, mlflow: MlflowServer
):
    job_id = server.submit(provider="hangs", experiment={"name": "crash"})
    server.in_state(job_id, "running")
    mlflow.kill()
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    wait_until(lambda: export(server, job_id).get("attempts"), "an attempt")
    server.kill()
    mlflow.start()
    server.start()
    exported(server, job_id)
    server.kill()  # and once more, over what is done
    server.start()
    assert export(server, job_id)["state"] == "succeeded"
    (run,) = mlflow.runs(mlflow.experiment("crash")["experiment_id"])
    assert run["info"]["status"] == "KILLED"


async def test_duplicate_runs_of_a_hanging_mlflow_are_deleted(mlflow: MlflowServer):
    made = mlflow.request("POST", "/api/2.0/mlflow/experiments/create", {"name": "twice"})
    job = a_job(experiment_id=made["experiment_id"], tracker="mlflow", state=State.COMPLETED)
    body = {
        "experiment_id": made["experiment_id"],
        "start_time": milliseconds(job.created_at),
        "tags": [{"key": key, "value": value} for key, value in run_tags(job).items()],
    }
    for start_time in (body["start_time"], body["start_time"], body["start_time"] + 1):
        mlflow.request("POST", "/api/2.0/mlflow/runs/create", {**body, "start_time": start_time})
    tracker = make_tracker(MlflowSettings(tracking_uri=mlflow.url), PluginContext())
    first = await tracker.record(job)
    assert await tracker.record(job) == first
    await tracker.close()
    kept, somebodys_copy = mlflow.runs(made["experiment_id"])
    assert (kept["info"]["run_id"], kept["info"]["status"]) == (first.reference, "FINISHED")
    assert somebodys_copy["info"]["start_time"] == body["start_time"] + 1


def test_a_run_that_an_attempt_left_half_done_is_completed(server: RunningServer, mlflow: MlflowServer):
    job_id = server.submit(provider="hangs", experiment={"name": "half done"})
    server.in_state(job_id, "running")
    experiment_id = mlflow.experiment("half done")["experiment_id"]
    tags = [{"key": "evaluation_job_id", "value": job_id}, {"key": "context", "value": "eval-hub"}]
    half = mlflow.request(
        "POST", "/api/2.0/mlflow/runs/create", {"experiment_id": experiment_id, "tags": tags, "start_time": 1}
    )
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    exported(server, job_id)
    (run,) = mlflow.runs(experiment_id)
    assert run["info"]["run_id"] == half["run"]["info"]["run_id"]
    assert (run["info"]["status"], run["info"]["run_name"]) == ("KILLED", "a job")
    card = mlflow.artifact(run["info"]["run_id"], "evaluation-card.json")
    assert card["results"]["status"]["state"] == "cancelled"


@pytest.mark.parametrize("down", [False, True])
def test_a_hard_delete_ends_the_run_that_an_attempt_left_open(
    config: Config, mlflow: MlflowServer, tmp_path: Path, down: bool
):
    """At once, or in the background while MLflow is down."""
    name = f"deleted {down}"
    text = (config.folder / "config.yaml").read_text().replace("200ms", "1h")
    (config.folder / "config.yaml").write_text(text)  # after a few attempts the export waits
    with RunningServer(
        config.folder, data_dir=tmp_path / "data", env={"MLFLOW_TRACKING_URI": mlflow.url}
    ) as server:
        job_id = server.submit(provider="hangs", experiment={"name": name})
        server.in_state(job_id, "running")
        experiment_id = mlflow.experiment(name)["experiment_id"]
        tags = [{"key": "evaluation_job_id", "value": job_id}, {"key": "context", "value": "eval-hub"}]
        body = {"experiment_id": experiment_id, "tags": tags, "start_time": 1}
        mlflow.request("POST", "/api/2.0/mlflow/runs/create", body)
        mlflow.kill()
        assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
        wait_until(lambda: export(server, job_id).get("attempts", 0) >= 4, "attempts", 60)
        if not down:
            mlflow.start()
        assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204
        assert server.call("GET", f"{API}/jobs/{job_id}").status == 404
        if down:
            mlflow.start()

        def status() -> str:
            (run,) = mlflow.runs(experiment_id)
            return run["info"]["status"]

        wait_until(lambda: status() == "KILLED", "the end of the run", 60)


def test_tenants_have_workspaces_where_mlflow_has_them(
    config: Config, mlflow_environment: Path, tmp_path: Path
):
    config.scripted("env:MLFLOW_WORKSPACE", "completed", provider_id="tells")
    with (
        MlflowServer(mlflow_environment, tmp_path / "mlflow", "--enable-workspaces") as mlflow,
        RunningServer(config.folder, env={"MLFLOW_TRACKING_URI": mlflow.url}) as server,
    ):
        for tenant in ("team-a", "team-b"):
            body = job_request(provider="tells", experiment={"name": "e"})
            answer = server.call("POST", f"{API}/jobs", body, {"X-Tenant": tenant})
            assert answer.status == 202, answer
            job_id = answer.body["resource"]["id"]
            link = exported(server, job_id)["results"]["exports"][0]["link"]
            assert link.endswith(f"?workspace={tenant}")
            experiment = mlflow.experiment("e", workspace=tenant)
            (run,) = mlflow.runs(experiment["experiment_id"], workspace=tenant)
            assert pairs(run["data"]["tags"])["evaluation_job_id"] == job_id
            card = mlflow.artifact(run["info"]["run_id"], "evaluation-card.json", workspace=tenant)
            assert card["metadata"]["evaluation_job_id"] == job_id
            assert f"MLFLOW_WORKSPACE={tenant}" in server.logs(job_id)
