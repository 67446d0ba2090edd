"""With two trackers a job has an experiment in each, and is recorded in both, over a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import Config, RunningServer, wait_until
from harness.server import API, job_request
from harness.site import Site

NOTEBOOKS = """
from pathlib import Path

from msgspec import Struct

from evalhub_server.plugins import ApiError, Descriptor, ExportOutcome, TrackedExperiment, Tracker, hookimpl


class NotebookSettings(Struct, kw_only=True, frozen=True):
    folder: str


class Notebook(Tracker):
    def __init__(self, name, settings):
        self.name = name
        self.folder = Path(settings.folder)

    async def check(self):
        return

    async def resolve_experiment(self, request, job_id, tenant):
        if request.experiment.name == f"not in {self.name}":
            raise ApiError(400, f"{self.name}_request_failed", f"The {self.name} tracker refused the experiment.")
        return TrackedExperiment(id=f"{self.name}-7", url=f"http://{self.name}.test/api")

    def environment(self, tenant):
        return {}

    async def record(self, job):
        experiment = job.progress.experiments[self.name]
        (self.folder / f"{self.name}-{job.id}").write_text(experiment.id)
        return ExportOutcome(reference=f"run-in-{experiment.id}")


@hookimpl
def evalhub_trackers():
    return [
        Descriptor(
            api=1,
            name=name,
            factory=lambda settings, context, name=name: Notebook(name, settings),
            settings=NotebookSettings,
            section="notebook",
        )
        for name in ("first", "second")
    ]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[RunningServer]:
    site = Site(folder / "site")
    site.install("third-notebooks", NOTEBOOKS)
    config = Config(folder / "c", plugins={"trackers": ["first", "second"]}, notebook={"folder": str(folder)})
    config.scripted("running", f"await:{folder / 'gate'}", "completed")
    env = {"PYTHONPATH": str(site.folder)}
    with RunningServer(config.folder, data_dir=folder / "data", env=env) as server:
        yield server


def submit(server: RunningServer) -> str:
    return server.submit(experiment={"name": "nightly"})


def recorded(server: RunningServer, job_id: str) -> dict[str, str]:
    """The run of each tracker, once both have recorded the job."""
    exports = wait_until(
        lambda: (
            all(export["state"] == "succeeded" for export in server.job(job_id)["results"]["exports"])
            and server.job(job_id)["results"]["exports"]
        ),
        "both records",
    )
    return {export["name"]: export["reference"] for export in exports}


def test_each_tracker_gets_its_own_experiment_and_clients_see_the_first(server: RunningServer, folder: Path):
    job_id = submit(server)
    (folder / "gate").touch()
    job = server.finished(job_id)
    assert job["resource"]["mlflow_experiment_id"] == "first-7"
    assert job["results"]["mlflow_experiment_url"] == "http://first.test/api"
    assert recorded(server, job_id) == {"first": "run-in-first-7", "second": "run-in-second-7"}
    for name in ("first", "second"):
        assert (folder / f"{name}-{job_id}").read_text() == f"{name}-7"


def test_both_experiments_survive_a_restart_with_another_order(server: RunningServer, folder: Path):
    job_id = submit(server)
    server.in_state(job_id, "running")
    server.terminate()
    file = server.configdir / "config.yaml"
    sections = yaml.safe_load(file.read_text("utf-8"))
    file.write_text(yaml.safe_dump({**sections, "plugins": {"trackers": ["second", "first"]}}), "utf-8")
    server.start()
    (folder / "gate").touch()
    assert server.finished(job_id)["resource"]["mlflow_experiment_id"] == "first-7"
    assert recorded(server, job_id) == {"first": "run-in-first-7", "second": "run-in-second-7"}


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_tracker_that_refuses_chooses_the_error_and_nothing_is_stored(server: RunningServer, name: str):
    request = job_request(experiment={"name": f"not in {name}"})
    answer = server.call("POST", f"{API}/jobs", request)
    assert answer.refusal == (400, f"{name}_request_failed")
    assert server.get(f"{API}/jobs")["total_count"] == 0
