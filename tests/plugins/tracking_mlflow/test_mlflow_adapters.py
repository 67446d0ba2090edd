"""MLflow's variables for adapters, while MLflow is down."""

from __future__ import annotations

from pathlib import Path

from harness import Config, RunningServer, free_port


def test_adapters_get_mlflows_variables_in_jobs_without_an_experiment_too(tmp_path: Path):
    uri = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "token").write_text("Bearer t0ken\n", "utf-8")
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_WORKSPACE")
    config = Config(
        tmp_path / "config",
        mlflow={"tracking_uri": uri, "token_path": str(tmp_path / "token"), "workspace": "w"},
    )
    config.scripted(*(f"env:{name}" for name in names), "completed")
    with RunningServer(config.folder, env={"MLFLOW_WORKSPACE": ""}) as server:
        (warning,) = [line for line in server.log_lines() if line["msg"].startswith("MLflow does not answer")]
        assert (warning["level"], warning["mlflow_tracking_uri"]) == ("warning", uri)
        job_id = server.submit()
        job = server.finished(job_id)
        assert job["status"]["state"] == "completed"
        assert "exports" not in job["results"]
        said = server.logs(job_id)
    assert f"MLFLOW_TRACKING_URI={uri}\nMLFLOW_TRACKING_TOKEN=t0ken\n" in said
    assert said.endswith("MLFLOW_WORKSPACE="), "it is not known yet whether this MLflow has workspaces"
    assert "t0ken" not in server.log_text()
