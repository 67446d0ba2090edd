"""Jobs and samples of a real server as data frames of pandas and polars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from evalhub_server.client import Client, ClientError, jobs_df, samples_df
from harness import Config, RunningServer
from harness.environments import installed

SAMPLES: list[dict[str, Any]] = [
    {"sample_id": "a", "input": "text", "target": 4, "metrics": {"acc": 1, "f1": 0.5}, "tags": ["x"]},
    {"sample_id": "b", "input": {"q": [1, 2]}, "target": "4", "metrics": {"acc": 0.5}, "passed": True},
    {"sample_id": "c", "input": 1.5, "target": None, "metrics": {}, "usage": {"tokens": 3}},
]
POLARS = """
import json, sys
from evalhub_server.client import jobs_df, samples_df
jobs, samples = json.load(sys.stdin)
frames = [jobs_df(jobs, "polars"), jobs_df([], "polars"), samples_df(samples, "polars"), samples_df(samples[::-1], "polars")]
types = [{name: str(type_) for name, type_ in frame.schema.items()} for frame in frames]
print(json.dumps([[frame.to_dicts() for frame in frames], types]))
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A job whose first benchmark has results, and whose second one has failed."""
    folder = tmp_path_factory.mktemp("frames")
    config = Config(folder)
    score = {"primary_score": {"metric": "acc"}, "pass_criteria": {"threshold": 0.5}}
    config.provider("sleep 600 # waits for the test's own events", "b", "c", benchmark=score)
    with RunningServer(config.folder) as server:
        job_id = server.submit("b", "c")
        server.report(job_id, "completed", metrics={"acc": 0.75, "note": "high"})
        server.report(job_id, "failed", index=1, benchmark="c")
        return dict(Client(f"http://localhost:{server.port}").jobs.get(job_id))


def test_data_frames_need_a_library(monkeypatch: pytest.MonkeyPatch):
    for name in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ClientError, match="needs pandas or polars, which is not installed: pip install pandas"
    ):
        jobs_df([])
    with pytest.raises(ClientError, match="needs polars, which is not installed: pip install polars"):
        samples_df([], "polars")


def test_pandas_has_a_row_per_benchmark_and_a_column_per_metric(job: Any):
    import pandas as pd

    frame = jobs_df([job])
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["job_id"]) == [job["resource"]["id"]] * 2
    assert list(frame["benchmark_id"]) == ["b", "c"]
    assert list(frame["state"]) == ["completed", "failed"]
    assert frame["metrics.acc"].tolist()[0] == frame["primary_score"].tolist()[0] == 0.75
    assert frame["metrics.acc"].isna().tolist() == [False, True]
    assert frame["metrics.acc"].dtype == float
    assert frame["pass"].tolist()[0] is True
    assert list(jobs_df([])) == [name for name in frame if not name.startswith("metrics.")]


def test_pandas_keeps_samples_as_they_are():
    frame = samples_df(SAMPLES)
    assert list(frame["input"]) == ["text", {"q": [1, 2]}, 1.5]
    assert frame["metrics.acc"].mean() == 0.75
    assert frame["tags"].tolist()[0] == ["x"]
    assert (list(samples_df([])), len(samples_df([]))) == (["sample_id"], 0)


@pytest.mark.slow
def test_polars_has_the_same_rows_and_one_type_per_column(request: pytest.FixtureRequest, job: Any):
    assert request.config.cache is not None
    environment = installed(request.config.cache.mkdir("polars"), "polars", "polars")
    (packages,) = environment.glob("lib/python*/site-packages")
    done = subprocess.run(
        [sys.executable, "-c", POLARS],
        input=json.dumps([[job], SAMPLES]),
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=True,
    )
    (jobs, none, samples, reversed_samples), types = json.loads(done.stdout)
    assert [row["job_id"] for row in jobs] == [job["resource"]["id"]] * 2
    assert [(row["metrics.acc"], row["metrics.note"]) for row in jobs] == [(0.75, "high"), (None, None)]
    assert none == []
    assert list(types[1]) == [name for name in types[0] if not name.startswith("metrics.")]
    assert [row["input"] for row in samples] == ['"text"', '{"q":[1,2]}', "1.5"]
    assert [row["metrics.acc"] for row in samples] == [1, 0.5, None]
    assert samples[0]["tags"] == ["x"]
    assert types[2]["metrics.acc"] == "Float64"
    assert types[2]["input"] == types[2]["target"] == "String"
    assert types[2] == {name: types[3][name] for name in types[2]}
    assert reversed_samples[::-1] == [{name: row[name] for name in reversed_samples[0]} for row in samples]
