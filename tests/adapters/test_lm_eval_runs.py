"""The real lm-evaluation-harness, offline on small data of ours, on a deterministic endpoint."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import Config, RunningServer, framework_runs
from harness.data_sets import gsm8k_question, write_arc, write_gsm8k, write_mmlu, write_wikitext
from harness.framework_runs import LM_EVAL, Framework, Interrupted, stopped_by_sigterm
from harness.model_server import MODEL, ModelServer
from harness.quickstart import CallbackServer, JobDirectory, error_answer
from harness.server import API
from harness.waiting import free_port, wait_until

pytestmark = pytest.mark.slow

PROVIDER = "measured"
"""Runs the adapter from the source, so that its coverage counts."""
MANAGED = LM_EVAL
MODULE = "evalhub_adapters.lm_eval_adapter"
BENCHMARKS = ("gsm8k", "arc_easy", "mmlu", "ai2_arc", "hellaswag", "arc_challenge", "humaneval")
ALIAS = "old_wikitext"
WAIT_S = 240.0
REFERENCE = Path(harness.__file__).parent / "lm_eval_reference.py"


@pytest.fixture(scope="module")
def framework(tmp_path_factory: pytest.TempPathFactory) -> Framework:
    found = framework_runs.framework(LM_EVAL, MODULE, tmp_path_factory.mktemp("lm-eval"))
    write_gsm8k(found.data)
    write_mmlu(found.data)
    write_arc(found.data)
    write_wikitext(found.data)
    return found


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    """Answers the first questions of gsm8k: right, right but not in the strict form, and not."""
    texts = ["0 + 2 = 2\n#### 2", "The answer is 4.", ""]
    with ModelServer(answers={gsm8k_question(i): text for i, text in enumerate(texts)}) as server:
        yield server


@pytest.fixture(scope="module")
def server(framework: Framework, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("server") / "config")
    config.provider(framework.command, *BENCHMARKS, provider_id=PROVIDER, env=dict(framework.variables))
    # As released clients name it.
    declared = {
        "alias_of": "wikitext",
        "metric_properties": [{"metric": "ppl", "alias_of": "word_perplexity"}],
    }
    config.provider(
        framework.command, ALIAS, provider_id="aliased", env=dict(framework.variables), benchmark=declared
    )
    config.write(f"providers/{MANAGED}.yaml", managed_provider(framework))
    installed = {"EVALHUB_ADAPTERS_DIR": str(framework.python.parents[3])}
    with RunningServer(config.folder, data_dir=config.folder / "data", env=installed) as running:
        yield running


def managed_provider(framework: Framework) -> dict[str, Any]:
    """A provider whose adapter runs in the managed environment."""
    names = ("HF_HUB_OFFLINE", "HF_HOME", "EVALHUB_TEST_DATA_DIR")
    variables = [{"name": name, "value": framework.variables[name]} for name in names]
    local = {"command": f"python -m {MODULE}", "environment": LM_EVAL, "env": variables}
    benchmarks = [{"id": each, "name": each, "category": "test"} for each in BENCHMARKS]
    return {"id": MANAGED, "name": MANAGED, "runtime": {"local": local}, "benchmarks": benchmarks}


def planned(benchmark_id: str, provider_id: str = PROVIDER, **parameters: Any) -> dict[str, Any]:
    return {"id": benchmark_id, "provider_id": provider_id, "parameters": parameters}


@pytest.fixture(scope="module")
def results(server: RunningServer, model: ModelServer) -> dict[str, dict[str, Any]]:
    """The outcomes of one job with several benchmarks, by their ids."""
    benchmarks = [
        planned("gsm8k", num_fewshot=1),
        planned("arc_easy", num_fewshot=2),
        planned("mmlu", num_examples=1, tokenizer="unknown"),
        planned("ai2_arc", num_examples=2),
        planned(ALIAS) | {"provider_id": "aliased"},
        planned("hellaswag"),
        planned("humaneval"),
    ]
    job_id = server.submit(benchmarks=benchmarks, model={"url": model.base, "name": MODEL})
    job = server.finished(job_id, WAIT_S)
    states = {each["id"]: each for each in job["status"]["benchmarks"]}
    for outcome in job["results"]["benchmarks"]:
        outcome["state"] = states[outcome["id"]]
        outcome["samples_url"] = f"{API}/jobs/{job_id}/benchmarks/{outcome['benchmark_index']}/samples"
    return {outcome["id"]: outcome for outcome in job["results"]["benchmarks"]}


def samples_of(server: RunningServer, outcome: dict[str, Any]) -> list[dict[str, Any]]:
    def page() -> Any:
        answer = server.call("GET", f"{outcome['samples_url']}?limit=200")
        return answer.body["items"] if answer.status == 200 and answer.body.get("items") else None

    return wait_until(page, "samples", 30)


def test_a_generating_task_has_the_scores_of_each_filter(
    server: RunningServer, results: dict[str, dict[str, Any]]
) -> None:
    outcome = results["gsm8k"]
    metrics = outcome["metrics"]
    assert metrics["exact_match,strict-match"] == pytest.approx(1 / 6)
    assert metrics["exact_match,flexible-extract"] == metrics["exact_match"] == pytest.approx(2 / 6)
    assert metrics["exact_match_stderr"] > 0
    info = outcome["additional_info"]
    assert info["framework"] == {"name": "lm-evaluation-harness", "version": "0.4.13"}
    assert (info["num_few_shot"], info["num_samples"], info["requests"]) == (1, 6, 6)
    assert info["data_sets"][0]["path"] == "openai/gsm8k"
    assert info["filters"] == {"exact_match": "flexible-extract"}
    assert outcome["state"]["progress"]["done"] == outcome["state"]["progress"]["total"] == 6
    samples = samples_of(server, outcome)
    assert [sample["metrics"]["exact_match"] for sample in samples] == [1, 1, 0, 0, 0, 0]
    assert samples[1]["output"] == "The answer is 4."
    assert samples[1]["answer"] == "4."
    assert "1 of 6 answers are empty" in outcome["state"]["warning_message"]["message"]


def test_scores_are_those_of_a_run_with_a_tokenizer(
    server: RunningServer, framework: Framework, model: ModelServer, results: dict[str, dict[str, Any]]
) -> None:
    reference = subprocess.run(
        [framework.python, "-P", REFERENCE, model.base, MODEL, "arc_easy"],
        cwd=framework.data,
        env={**os.environ, **framework.variables},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = json.loads(reference.stdout)
    outcome = results["arc_easy"]
    for metric in ("acc", "acc_norm", "acc_stderr"):
        assert outcome["metrics"][metric] == pytest.approx(expected["metrics"][f"{metric},none"], abs=1e-6)
    samples = samples_of(server, outcome)
    assert len(samples) == 6
    for sample in samples:
        found = sorted(value for _, value in sample["metadata"]["requests"])
        wanted = sorted(expected["samples"][sample["sample_id"]])
        assert [value[0] for value in found] == pytest.approx([value[0] for value in wanted], abs=1e-6)
        assert [value[1] for value in found] == [value[1] for value in wanted]


def test_a_group_has_its_own_score_and_those_of_its_tasks(
    server: RunningServer, results: dict[str, dict[str, Any]]
) -> None:
    outcome = results["mmlu"]
    info = outcome["additional_info"]
    assert (info["num_samples"], len(info["tasks"])) == (57, 57)
    scores = [task["acc"] for task in info["tasks"].values()]
    assert outcome["metrics"]["acc"] == pytest.approx(sum(scores) / 57)
    assert "tokenizer" in outcome["state"]["warning_message"]["message"]
    assert "each of the 57 tasks" in outcome["state"]["warning_message"]["message"]
    samples = samples_of(server, outcome)
    assert {"mmlu_anatomy/0", "mmlu_virology/0"} <= {sample["sample_id"] for sample in samples}
    assert {sample["group"] for sample in samples} == set(info["tasks"])


def test_tasks_without_a_common_score_have_the_mean(results: dict[str, dict[str, Any]]) -> None:
    outcome = results["ai2_arc"]
    scores = [task["acc"] for task in outcome["additional_info"]["tasks"].values()]
    assert outcome["metrics"]["acc"] == pytest.approx(sum(scores) / 2)
    assert outcome["additional_info"]["aggregation"] == "mean over 2 tasks"


def test_a_whole_text_has_a_perplexity(results: dict[str, dict[str, Any]]) -> None:
    metrics = results[ALIAS]["metrics"]
    assert metrics["word_perplexity"] > metrics["byte_perplexity"] > 1


def test_an_alias_runs_the_task_and_reports_its_metrics_by_both_names(
    results: dict[str, dict[str, Any]],
) -> None:
    outcome = results[ALIAS]
    assert outcome["additional_info"]["task"] == "wikitext"
    assert outcome["metrics"]["ppl"] == outcome["metrics"]["word_perplexity"]


def test_a_data_set_that_is_not_there_is_named(results: dict[str, dict[str, Any]]) -> None:
    message = results["hellaswag"]["state"]["error_message"]
    assert message["message_code"] == "data_unavailable"
    assert "'Rowan/hellaswag'" in message["message"]


def test_code_of_the_model_is_not_run_without_permission(results: dict[str, dict[str, Any]]) -> None:
    message = results["humaneval"]["state"]["error_message"]
    assert message["message_code"] == "job_invalid"
    assert "parameters.confirm_run_unsafe_code" in message["message"]


FIND = """
import json
from types import SimpleNamespace
from evalhub_adapters.lm_eval_adapter.tasks import data_set_names, data_sets, find_tasks, output_types
from evalhub_common.adapter.errors import JobInvalid

found = {}
for name in ("mmlu_generative", "ai2_arc", "squadv2"):
    tasks, _ = find_tasks(name)
    configurations = tasks.configurations()
    found[name] = [len(configurations), sorted(output_types(configurations)), data_set_names(configurations)[:1]]
try:
    find_tasks("no_such_task")
except JobInvalid as error:
    found["error"] = str(error)
info = SimpleNamespace(download_checksums={"hf://datasets/a/b@" + 40 * "0" + "/test.parquet": {}})
config = SimpleNamespace(dataset_path="a/b", dataset_name="c")
task = SimpleNamespace(config=config, dataset={"test": SimpleNamespace(info=info)})
found["data_sets"] = data_sets([task, SimpleNamespace(config=None)])
print(json.dumps(found))
"""


def test_tasks_are_found_with_what_they_need_before_any_data(framework: Framework) -> None:
    run = subprocess.run(
        [framework.python, "-c", FIND],
        env={**os.environ, **framework.variables},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    assert found["mmlu_generative"] == [57, ["generate_until"], ["cais/mmlu"]]
    assert found["ai2_arc"] == [2, ["multiple_choice"], ["allenai/ai2_arc"]]
    assert found["squadv2"] == [1, [], []]
    assert "no_such_task is not a task" in found["error"]
    assert found["data_sets"] == [{"path": "a/b", "subsets": ["c"], "revision": 40 * "0"}]


def test_a_managed_environment_runs_what_a_chat_endpoint_can(server: RunningServer) -> None:
    with ModelServer("ollama") as ollama:
        job_id = server.submit(
            benchmarks=[planned("gsm8k", MANAGED, num_examples=1), planned("arc_challenge", MANAGED)],
            model={"url": ollama.base, "name": MODEL},
        )
        states = server.finished(job_id, WAIT_S)["status"]["benchmarks"]
    assert {each["id"]: each["status"] for each in states} == {
        "gsm8k": "completed",
        "arc_challenge": "failed",
    }
    (refused,) = [each for each in states if each["id"] == "arc_challenge"]
    assert "run 'arc_challenge_chat'" in refused["error_message"]["message"]


def test_a_rerun_sends_only_what_is_missing(server: RunningServer) -> None:
    with ModelServer() as model:
        answers = Interrupted(model, "apples", 4, lambda: error_answer(400, "out of order"))
        parameters = {
            "concurrency": 1,
            "max_retries": 0,
            "endpoint": "completions",
            "num_fewshot": 0,
            "confirm_run_unsafe_code": True,
        }
        job_id = server.submit(
            benchmarks=[planned("gsm8k", **parameters)], model={"url": model.base, "name": MODEL}
        )
        (outcome,) = server.finished(job_id, WAIT_S)["status"]["benchmarks"]
        message = outcome["error_message"]["message"]
        assert "failed after 3 of 6 requests: it answered 400: out of order" in message
        answer = server.call("POST", f"{API}/jobs/{job_id}/reruns", {"only": "failed"})
        job = server.finished(answer.body["resource"]["id"], WAIT_S)
        assert job["status"]["state"] == "completed", job["status"]
        (again,) = job["results"]["benchmarks"]
    assert again["additional_info"]["reused_requests"] == 3
    assert answers.questions == 4 + 3


def test_data_of_another_directory_or_edited_data_are_not_mixed_up(
    framework: Framework, tmp_path: Path
) -> None:
    """All runs have the cache of Hugging Face in common."""

    def first_question(data: Path) -> str:
        variables = {**framework.variables, "EVALHUB_TEST_DATA_DIR": str(data)}
        with CallbackServer() as callback, ModelServer() as model:
            job = JobDirectory(tmp_path / "job", callback_url=callback.url, program=framework.program)
            job.use(model.base, "gsm8k", num_fewshot=0, limit=1)
            job.document["model"]["name"] = MODEL
            with job.start(**variables) as process:
                process.communicate(timeout=WAIT_S)
        (sample,) = job.samples
        return sample["input"][0]["content"]

    for name in ("one", "two"):
        write_gsm8k(tmp_path / name)
    edited = tmp_path / "two" / "openai" / "gsm8k" / "main" / "test.jsonl"
    text = edited.read_text("utf-8")
    edited.write_text(text.replace("Ann", "Eve"), "utf-8")
    assert "Ann" in first_question(tmp_path / "one")
    assert "Eve" in first_question(tmp_path / "two")
    edited.write_text(text.replace("Ann", "Ida"), "utf-8")
    assert "Ida" in first_question(tmp_path / "two")


def test_sigterm_stops_it(framework: Framework, tmp_path: Path) -> None:
    with CallbackServer() as callback, ModelServer() as model:
        job = JobDirectory(tmp_path / "job", callback_url=callback.url, program=framework.program)
        job.use(model.base, "gsm8k", num_fewshot=0, concurrency=1)
        secret = tmp_path / "secret"
        secret.mkdir()
        (secret / "hf-token").write_text("hf_token")
        job.document["model"] |= {"name": MODEL, "auth": {"secret_ref": secret.as_uri()}}
        without_hub = {"HF_HUB_OFFLINE": "", "HF_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
        without_hub |= dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "")
        variables = {**framework.variables, **without_hub}
        output = stopped_by_sigterm(job, model, "apples", 4, variables)
    assert "the Hugging Face Hub cannot be reached" in output
    assert [sample["sample_id"] for sample in job.samples] == ["0", "1", "2"]
