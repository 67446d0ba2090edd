"""Distributions of ``init-plugin``: installed beside the server's wheel, tested, and used together by a job."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import RunningServer, wait_until
from harness.packaging import Built, Environment

KINDS = ("runtime", "storage", "tracker", "exporter", "observer")


class Scaffolds:
    """An environment with a scaffold of each kind, such as ``deck-runtime``, from the directories in ``folder``."""

    def __init__(self, folder: Path, built: Built) -> None:
        self.folder = folder
        self.environment = Environment.create(folder / "env")
        self.environment.pip("install", str(built.wheel))
        for kind in KINDS:
            target = str(folder / kind)
            self.environment.run(
                "eval-hub-server", "init-plugin", f"deck-{kind}", "--kind", kind, "--directory", target
            )
        wheels = str(built.wheel.parent)
        self.environment.pip("install", "--find-links", wheels, *(f"{folder / kind}[dev]" for kind in KINDS))


@pytest.fixture(scope="module")
def scaffolds(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffolds]:
    made = Scaffolds(tmp_path_factory.mktemp("scaffolds"), built)
    yield made
    shutil.rmtree(made.environment.folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_passes_its_own_tests(scaffolds: Scaffolds, kind: str):
    tests = str(scaffolds.folder / kind)
    done = scaffolds.environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", tests)
    assert " passed" in done.stdout


@pytest.mark.slow
def test_a_job_uses_a_plugin_of_each_kind(scaffolds: Scaffolds, tmp_path: Path):
    config: dict[str, dict[str, object]] = {"plugins": {}}
    for kind in KINDS:
        own = yaml.safe_load((scaffolds.folder / kind / "config.yaml").read_text("utf-8"))
        config["plugins"] |= own.pop("plugins")
        config |= own
    targets = {name: tmp_path / name for name in ("experiments", "cards")}
    for target in targets.values():
        target.mkdir()
    config["deck-tracker"]["directory"] = str(targets["experiments"])
    config["deck-exporter"]["directory"] = str(targets["cards"])
    config["deck-observer"]["file"] = str(tmp_path / "changes.txt")
    provider = {
        "id": "scripted",
        "name": "scripted",
        "runtime": {"deck-runtime": {"command": ["sh", "-c", '"$EVALHUB_PYTHON" -m evalhub_quickstart']}},
        "benchmarks": [{"id": "arithmetic", "name": "arithmetic", "category": "test"}],
    }
    folder = tmp_path / "config"
    (folder / "providers").mkdir(parents=True)
    (folder / "providers" / "scripted.yaml").write_text(yaml.safe_dump(provider), "utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    python = scaffolds.environment.python
    with RunningServer(folder, data_dir=tmp_path / "data", python=python) as server:
        job_id = server.submit(
            "arithmetic",
            experiment={"name": "nightly"},
            exports={"deck-exporter": {"label": "release"}},
        )
        job = server.finished(job_id)
        # The model does not exist, so the benchmark fails, in the adapter.
        assert job["status"]["state"] == "failed", job
        assert "the model endpoint http://model.test" in server.logs(job_id)
        card = targets["cards"] / f"release-{job_id}.json"
        wait_until(card.exists, "the evaluation card")
        runs = wait_until(lambda: list(targets["experiments"].rglob(f"{job_id}.json")), "the run")
    assert json.loads(runs[0].read_text("utf-8"))["state"] == "failed"
    assert json.loads(card.read_text("utf-8"))
    states = [line.split()[1] for line in (tmp_path / "changes.txt").read_text("utf-8").splitlines()]
    assert (states[0], states[-1]) == ("pending", "failed")
    assert (tmp_path / "data" / "deck-storage.jsonl").is_file()
    with RunningServer(folder, data_dir=tmp_path / "data", python=python) as server:
        assert server.job(job_id)["status"]["state"] == "failed"
