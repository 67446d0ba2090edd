"""The real Inspect, offline on small data of ours, on a deterministic endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, framework_runs
from harness.data_sets import write_gsm8k, write_xstest
from harness.framework_runs import Framework, Interrupted, stopped_by_sigterm
from harness.model_server import MODEL, ModelServer
from harness.quickstart import CallbackServer, JobDirectory, error_answer
from harness.server import API
from harness.waiting import wait_until

pytestmark = pytest.mark.slow

PROVIDER = "inspect"
KEY = "sk-of-the-user"
GSM8K, SWE_BENCH, JUDGED, NO_DATA = (
    "inspect/gsm8k",
    "inspect_evals/swe_bench",
    "xstest",
    "inspect_evals/hellaswag",
)
WAIT_S = 240.0


@pytest.fixture(scope="module")
def framework(tmp_path_factory: pytest.TempPathFactory) -> Framework:
    found = framework_runs.framework(
        "inspect", "evalhub_adapters.inspect_adapter", tmp_path_factory.mktemp("inspect")
    )
    write_gsm8k(found.data)
    write_xstest(found.data)
    return found


@pytest.fixture(scope="module")
def server(framework: Framework, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("server") / "config")
    env = {**framework.variables, "DOCKER_HOST": "unix:///nonexistent.sock", "OPENAI_API_KEY": KEY}
    config.provider(
        framework.command, GSM8K, "gsm8k", SWE_BENCH, JUDGED, NO_DATA, provider_id=PROVIDER, env=env
    )
    with RunningServer(config.folder, data_dir=config.folder / "data") as running:
        yield running


def planned(benchmark_id: str, **parameters: Any) -> dict[str, Any]:
    return {"id": benchmark_id, "provider_id": PROVIDER, "parameters": parameters}


ANSWERS = {
    "Ann has 0 apples": "ANSWER: 2",
    "Ann has 1 apples": "ANSWER: 4",
    "[BEGIN DATA]": "It helped. GRADE: C",
}


@pytest.fixture(scope="module")
def job(server: RunningServer) -> dict[str, Any]:
    """A job with a benchmark that runs, one that is judged, and those that lack something."""
    benchmarks = [
        planned(GSM8K, num_examples=4, epochs=2, num_few_shot=2, temperature=0, unknown=1),
        planned(JUDGED, judge_model=MODEL),
        planned(SWE_BENCH),
        planned(JUDGED),
        planned(NO_DATA),
    ]
    with ModelServer(answers=ANSWERS) as model:
        url = f"{model.base}?key=of-the-service"
        job = server.finished(server.submit(benchmarks=benchmarks, model={"url": url, "name": MODEL}), WAIT_S)
        assert {request.path.partition("?")[2] for request in model.requests} == {"key=of-the-service"}
        return job


def outcome_of(job: dict[str, Any], index: int) -> dict[str, Any]:
    return next(each for each in job["results"]["benchmarks"] if each["benchmark_index"] == index)


def state_of(job: dict[str, Any], index: int) -> dict[str, Any]:
    return next(each for each in job["status"]["benchmarks"] if each["benchmark_index"] == index)


def url_of(job: dict[str, Any], index: int) -> str:
    return f"{API}/jobs/{job['resource']['id']}/benchmarks/{index}"


def samples_of(server: RunningServer, job: dict[str, Any], index: int) -> list[dict[str, Any]]:
    def page() -> Any:
        answer = server.call("GET", f"{url_of(job, index)}/samples?limit=200")
        return answer.body["items"] if answer.status == 200 and answer.body.get("items") else None

    return wait_until(page, "samples", 30)


def test_a_task_is_scored_like_inspect_does_it(server: RunningServer, job: dict[str, Any]) -> None:
    outcome, state = outcome_of(job, 0), state_of(job, 0)
    metrics = outcome["metrics"]
    assert metrics["accuracy"] == metrics["match/accuracy"] == metrics["accuracy/accuracy"] == 0.5
    assert metrics["accuracy_stderr"] == metrics["stderr"] == pytest.approx(0.288675, abs=1e-6)
    assert state["progress"]["done"] == state["progress"]["total"] == 8
    info = outcome["additional_info"]
    assert info["framework"]["name"] == "Inspect"
    assert (info["num_samples"], info["failed_samples"], info["reused_samples"]) == (8, 0, 0)
    assert (info["tasks"][0]["name"], info["tasks"][0]["args"]["fewshot"]) == ("inspect_evals/gsm8k", 2)
    assert info["data_sets"][0]["path"] == "openai/gsm8k"
    samples = samples_of(server, job, 0)
    assert len(samples) == 8
    assert {sample["epoch"] for sample in samples} == {0, 1}
    right = [sample for sample in samples if sample["metrics"]["accuracy"] == 1]
    assert {(sample["answer"], sample["target"]) for sample in right} == {("2", "2"), ("4", "4")}
    assert {sample["messages"][0]["role"] for sample in samples} == {"system"}


def test_inspects_log_is_an_artifact(server: RunningServer, job: dict[str, Any]) -> None:
    (artifact,) = server.get(f"{url_of(job, 0)}/artifacts")["items"]
    assert artifact["name"].endswith(".eval")


def test_a_judge_model_scores(server: RunningServer, job: dict[str, Any]) -> None:
    assert outcome_of(job, 1)["metrics"]["refusal_rate"] == 0
    samples = samples_of(server, job, 1)
    assert {sample["outcome"] for sample in samples} <= {"passed", "unscored"}
    assert all("GRADE: C" in sample["explanation"] for sample in samples)


@pytest.mark.parametrize(
    ("index", "code", "fragments"),
    [
        (2, "job_invalid", [SWE_BENCH, "Docker"]),
        (3, "job_invalid", ["inspect_evals/xstest", "parameters.judge_model"]),
        (4, "data_unavailable", ["'Rowan/hellaswag'", NO_DATA]),
    ],
)
def test_what_is_missing_is_named(job: dict[str, Any], index: int, code: str, fragments: list[str]) -> None:
    message = state_of(job, index)["error_message"]
    assert message["message_code"] == code
    assert all(fragment in message["message"] for fragment in fragments), message


def test_a_rerun_evaluates_only_what_failed(server: RunningServer) -> None:
    with ModelServer() as model:
        answers = Interrupted(model, "apples", 3, lambda: error_answer(400, f"out of order for {KEY}"))
        parameters = {"concurrency": 1, "max_retries": 0, "fewshot": 0, "num_examples": 4}
        benchmarks = [planned("gsm8k", **parameters)]
        job = server.finished(
            server.submit(benchmarks=benchmarks, model={"url": model.base, "name": MODEL}), WAIT_S
        )
        warning = state_of(job, 0)["warning_message"]["message"]
        assert "1 of 4 samples failed" in warning
        assert "out of order for ***" in warning
        assert len([sample for sample in samples_of(server, job, 0) if sample.get("error")]) == 1
        answer = server.call("POST", f"{API}/jobs/{job['resource']['id']}/reruns", {"only": "all"})
        again = server.finished(answer.body["resource"]["id"], WAIT_S)
    info = outcome_of(again, 0)["additional_info"]
    assert (info["num_samples"], info["failed_samples"], info["reused_samples"]) == (4, 0, 3)
    assert answers.questions == 4 + 1


def test_sigterm_stops_it_with_its_finished_samples(framework: Framework, tmp_path: Path) -> None:
    with CallbackServer() as callback, ModelServer() as model:
        job = JobDirectory(tmp_path / "job", callback_url=callback.url, program=framework.program)
        job.use(model.base, "gsm8k", fewshot=0, concurrency=1)
        job.document["model"]["name"] = MODEL
        stopped_by_sigterm(job, model, "apples", 3, framework.variables)
    assert len(job.samples) == 2
    assert all(sample["metrics"] for sample in job.samples)


def test_test_data_is_not_mixed_up_with_what_inspect_keeps(framework: Framework, tmp_path: Path) -> None:
    """All runs have the caches of Hugging Face and Inspect in common."""

    def first_question(data: Path) -> str:
        variables = {**framework.variables, "EVALHUB_TEST_DATA_DIR": str(data)}
        with CallbackServer() as callback, ModelServer() as model:
            job = JobDirectory(tmp_path / "job", callback_url=callback.url, program=framework.program)
            job.use(model.base, JUDGED, limit=1, judge_model=MODEL)
            job.document["model"]["name"] = MODEL
            with job.start(**variables) as process:
                process.communicate(timeout=WAIT_S)
        (sample,) = job.samples
        return str(sample["input"])

    for name in ("one", "two"):
        write_xstest(tmp_path / name)
    edited = tmp_path / "two" / "walledai" / "XSTest" / "test.jsonl"
    edited.write_text(edited.read_text("utf-8").replace("kill", "end"), "utf-8")
    assert "kill process" in first_question(tmp_path / "one")
    assert "end process" in first_question(tmp_path / "two")
