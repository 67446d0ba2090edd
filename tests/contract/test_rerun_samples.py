"""A rerun gets the samples of the original: a real server with the quickstart adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import Config, RunningServer
from harness.answering import AnsweringServer, Reply, Request
from harness.quickstart import chat_answer, error_answer, is_probe, prompt_of
from harness.server import API
from harness.waiting import wait_until

BUNDLED = Path(__file__).parents[2] / "config" / "providers" / "quickstart.yaml"


class Model:
    """Refuses two prompts, or answers everything alike."""

    def __init__(self) -> None:
        self.refusing = True
        self.asked: list[str] = []

    def __call__(self, received: Request) -> Reply:
        prompt = prompt_of(received)
        if not is_probe(received):
            self.asked.append(prompt)
            if self.refusing and len(self.asked) in (2, 4):
                return error_answer(400, "refused")
        return chat_answer("Answer: 122")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("rerun-samples") / "config")
    config.write("providers/quickstart.yaml", yaml.safe_load(BUNDLED.read_text("utf-8")))
    show = """cat "$EVALHUB_PREVIOUS_SAMPLES_PATH"; cat "$EVALHUB_JOB_SPEC_PATH" """
    write = """echo '{"sample_id": "s", "metrics": {"acc": 1}}' > "$EVALHUB_SAMPLES_PATH"; exit 3"""
    config.provider(f"{show}; {write}", "b")
    with RunningServer(config.folder, data_dir=config.folder / "data") as running:
        yield running


def rerun(server: RunningServer, job_id: str, only: str, **fields: bool) -> str:
    answer = server.call("POST", f"{API}/jobs/{job_id}/reruns", {"only": only, **fields})
    assert answer.status == 202, answer
    return answer.body["resource"]["id"]


def test_only_failed_samples_are_evaluated_again(server: RunningServer):
    model = Model()
    with AnsweringServer(model) as endpoint:
        planned = {
            "id": "arithmetic",
            "provider_id": "quickstart",
            "parameters": {"num_examples": 6, "concurrency": 1, "max_retries": 0},
        }
        body = {"benchmarks": [planned], "model": {"url": endpoint.url, "name": "m"}}
        original = server.submit(**body)
        first = server.finished(original)["results"]["benchmarks"][0]
        assert first["metrics"]["num_errors"] == 2
        model.refusing = False
        refused = [model.asked[1], model.asked[3]]
        model.asked.clear()
        result = server.finished(rerun(server, original, "all"))["results"]["benchmarks"][0]
        assert model.asked == refused
        assert result["additional_info"]["reused_samples"] == 4
        model.asked.clear()
        whole = server.finished(rerun(server, original, "all", reuse_samples=False))
    assert len(model.asked) == 6
    assert result["metrics"] == whole["results"]["benchmarks"][0]["metrics"]
    assert "reused_samples" not in whole["results"]["benchmarks"][0]["additional_info"]


def test_an_adapter_gets_a_copy_of_the_stored_samples(server: RunningServer):
    original = server.submit("b")
    assert "previous_samples_path" not in log_of(server, original)
    job_id = rerun(server, original, "failed")
    log = log_of(server, job_id)
    assert '{"sample_id":"s"' in log.replace(" ", "")
    assert f"{job_id}/0/scripted/b/previous-samples-1.jsonl" in log


def log_of(server: RunningServer, job_id: str) -> str:
    server.finished(job_id)
    return wait_until(lambda: server.logs(job_id), f"log of {job_id}")
