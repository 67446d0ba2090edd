"""``gate``, ``compare``, ``leaderboard`` and ``baseline``: exit statuses and reports, on jobs with known differences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness import Config, RunningServer, free_port
from harness.answering import AnsweringServer
from harness.matrix import PROVIDER, answers, matrix_config, record
from harness.program import run_program
from harness.released import ReleasedServer

PROGRAM = [sys.executable, "-m", "evalhub_server"]


class Jobs:
    """The jobs of a matrix by model, and commands on their server."""

    def __init__(self, server: RunningServer) -> None:
        self.env = {**os.environ, "EVALHUB_BASE_URL": f"http://localhost:{server.port}"}
        self.ids: dict[str, str] = {}
        for model in ("base", "same", "better", "worse"):
            self.ids[model] = server.submit(
                "clear", provider=PROVIDER, model={"url": "http://localhost:9/v1", "name": model}
            )
        fields = {"provider": PROVIDER, "model": {"url": "http://localhost:9/v1", "name": "other"}}
        self.ids["other"] = server.submit("prompts", **fields)
        collection = [
            server.submit(
                **fields | {"model": {"url": "http://localhost:9/v1", "name": model}},
                benchmarks=[],
                collection={"id": "suite"},
            )
            for model in ("base", "better")
        ]
        for job_id in (*self.ids.values(), *collection):
            server.finished(job_id)

    def command(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run_program(*arguments, env={**self.env, **(env or {})})

    def gate(self, model: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.command("gate", self.ids[model], "--baseline", self.ids["base"], *options)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("gate")
    runs = folder / "runs"
    for model, fixed, broken in (("base", 0, 0), ("same", 2, 2), ("better", 40, 5), ("worse", 5, 60)):
        record(runs, model, "clear", answers(300, 100, flip_to_right=fixed, flip_to_wrong=broken))
        record(runs, model, "prompts", answers(60, 40))
    record(runs, "other", "prompts", answers(60, 40))
    config = Config(folder / "config")
    matrix_config(config, runs, "clear", "prompts")
    with RunningServer(config.folder, data_dir=folder / "data") as server:
        yield Jobs(server)


def test_a_pass_exits_with_0(jobs: Jobs):
    done = jobs.gate("better", "--margin", "0.05")
    assert done.returncode == 0, done
    assert "Gate: pass" in done.stdout
    assert jobs.ids["better"] in done.stdout


def test_a_failure_exits_with_1_and_is_in_the_reports(jobs: Jobs, tmp_path: Path):
    junit, markdown = tmp_path / "gate.xml", tmp_path / "gate.md"
    done = jobs.gate(
        "worse", "--margin", "0.02", "--junit", str(junit), "--markdown", str(markdown), "--json"
    )
    assert done.returncode == 1, done
    answer = json.loads(done.stdout)
    assert answer["gate"]["outcome"] == "fail"
    assert answer["job"]["job_id"] == jobs.ids["worse"]
    suite = ET.fromstring(junit.read_bytes()).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "1", "0")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "fail"
    assert markdown.read_text("utf-8").startswith("### ❌ Gate: fail")


def test_what_the_data_leave_open_exits_with_2(jobs: Jobs):
    done = jobs.gate("same", "--margin", "0.012")
    assert done.returncode == 2, done
    assert "inconclusive" in done.stdout


def test_what_is_not_comparable_or_missing_exits_with_3(jobs: Jobs):
    done = jobs.gate("other", "--margin", "0.05")
    assert done.returncode == 3, done


@pytest.mark.parametrize(
    "options",
    [
        ["--margin", "0"],
        ["--margin", "0.02", "--policy", "x.yaml"],
        ["--policy", "missing.yaml"],
        ["--margin", "0.02", "--alpha", "1"],
        ["--margin", "0.001"],
    ],
)
def test_wrong_usage_exits_with_64(jobs: Jobs, options: list[str]):
    done = jobs.gate("better", *options)
    assert (done.returncode, done.stdout) == (64, ""), done


def test_without_a_margin_the_smallest_one_is_named(jobs: Jobs):
    done = jobs.gate("better")
    assert done.returncode == 64
    assert "it must be above 0.0" in done.stderr
    assert "matrix/clear" in done.stderr
    assert jobs.command("gate", jobs.ids["better"]).returncode == 64


def test_a_policy_of_thresholds_needs_no_baseline(jobs: Jobs, tmp_path: Path):
    policy = tmp_path / "policy.yaml"
    for threshold, status in ((0.5, 0), (0.95, 1)):
        policy.write_text(
            f"benchmarks: [{{provider_id: matrix, id: clear, threshold: {threshold}}}]\n", "utf-8"
        )
        done = jobs.command("gate", jobs.ids["base"], "--policy", str(policy))
        assert done.returncode == status, done
    policy.write_text("margni: 0.02\n", "utf-8")
    done = jobs.command("gate", jobs.ids["base"], "--policy", str(policy))
    assert done.returncode == 64
    assert "did you mean margin?" in done.stderr
    policy.write_text("margin: 0.02\n", "utf-8")
    assert jobs.command("gate", jobs.ids["base"], "--policy", str(policy)).returncode == 64


def test_a_server_that_is_unreachable_or_too_old_exits_with_69(jobs: Jobs):
    lost = {"EVALHUB_BASE_URL": f"http://localhost:{free_port()}"}
    arguments = ("gate", "x", "--baseline", "b", "--margin", "0.02")
    assert jobs.command(*arguments, env=lost).returncode == 69
    with AnsweringServer(ReleasedServer()) as released:
        for each in (arguments, ("compare", "a", "b"), ("leaderboard", "c"), ("baseline",)):
            done = jobs.command(*each, env={"EVALHUB_BASE_URL": released.url})
            assert done.returncode == 69
            assert "has no GET /api/v1/evaluations/" in done.stderr


def test_a_baseline_is_set_used_listed_and_deleted(jobs: Jobs):
    assert jobs.command("baseline", "nightly", jobs.ids["base"]).returncode == 0
    done = jobs.command("gate", jobs.ids["better"], "--baseline", "nightly", "--margin", "0.05")
    assert done.returncode == 0
    assert "baseline nightly" in done.stdout
    assert jobs.ids["base"] in jobs.command("baseline").stdout
    assert jobs.command("baseline", "nightly", "--delete").returncode == 0
    assert jobs.command("baseline", "nightly").returncode == 64
    assert json.loads(jobs.command("baseline", "--json").stdout) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "{base}", "tpyo"),
        ("leaderboard", "--job", "tpyo"),
        ("gate", "{base}", "--baseline", "tpyo"),
    ],
)
def test_a_mistyped_id_may_be_meant_by_the_name_of_a_baseline(jobs: Jobs, arguments: tuple[str, ...]):
    margin = ("--margin", "0.05") if arguments[0] == "gate" else ()
    done = jobs.command(*(each.format(**jobs.ids) for each in arguments), *margin)
    assert done.returncode == 64
    assert "baseline resource 'tpyo' was not found. What is not the whole id of a job" in done.stderr


def test_a_comparison_shows_scores_differences_and_verdicts(jobs: Jobs):
    done = jobs.command("compare", jobs.ids["base"], jobs.ids["better"], jobs.ids["worse"])
    assert done.returncode == 0, done
    for text in ("matrix/clear", "400", "0.75", "better", "40/5", "5/60", "Suite: "):
        assert text in done.stdout
    answer: dict[str, Any] = json.loads(
        jobs.command("compare", jobs.ids["base"], jobs.ids["same"], "--json").stdout
    )
    assert answer["candidates"][0]["comparison"]["benchmarks"][0]["n_matched"] == 400


def test_a_leaderboard_ranks_models_of_a_collection_or_of_jobs(jobs: Jobs):
    done = jobs.command("leaderboard", "suite")
    assert done.returncode == 0, done
    assert done.stdout.index("better") < done.stdout.index("base")
    done = jobs.command("leaderboard", "--job", jobs.ids["base"], "--job", jobs.ids["worse"])
    assert done.returncode == 0, done
    assert done.stdout.index("base") < done.stdout.index("worse")
    assert jobs.command("leaderboard").returncode == 64
    options = ("--bench", "matrix/clear", "--model", "base", "--model", "better", "--runs", "best")
    done = jobs.command("leaderboard", "suite", *options, "--sort", "model", "--incomplete", "hide")
    assert done.returncode == 0, done
    assert "Mean of 1" in done.stdout
    assert done.stdout.index("base") < done.stdout.index("better")
    assert "newest of 1" in done.stdout
    assert jobs.command("leaderboard", "suite", "--since", "soon").returncode == 64
