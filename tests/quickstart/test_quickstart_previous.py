"""Samples of an earlier run that the adapter reuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.answering import AnsweringServer, Reply, Request
from harness.quickstart import CallbackServer, JobDirectory, chat_answer, error_answer, is_probe, prompt_of


class Model:
    """A model that refuses prompts with ``refused`` in them, and answers all others alike."""

    def __init__(self) -> None:
        self.refused = "35 percent"
        self.prompts: list[str] = []

    def __call__(self, received: Request) -> Reply:
        if not is_probe(received):
            self.prompts.append(prompt_of(received))
        if self.refused and self.refused in prompt_of(received):
            return error_answer(400, "refused")
        return chat_answer("Answer: 122")


def test_only_failed_samples_are_sent_again(job: JobDirectory, callback: CallbackServer, tmp_path: Path):
    model = Model()
    previous = tmp_path / "previous.jsonl"
    with AnsweringServer(model) as server:
        job.use(server.url, max_retries=0)
        job.document["num_examples"] = 10
        assert job.run().status == 0
        previous.write_bytes(b"\n{broken\n[1]\n" + job.samples_file.read_bytes())
        model.refused = ""
        job.samples_file.unlink()
        whole_before = len(model.prompts)
        assert job.run().status == 0
        whole, asked = callback.last, model.prompts[whole_before:]
        assert len(asked) == 10
        model.prompts.clear()
        finished = job.run(EVALHUB_PREVIOUS_SAMPLES_PATH=str(previous))
    assert finished.status == 0, finished
    assert len(model.prompts) == 1
    assert "35 percent" in model.prompts[0]
    assert callback.last["metrics"] == whole["metrics"]
    assert callback.last["additional_info"]["reused_samples"] == 9
    assert "9 of 10 samples are reused from an earlier run" in finished.output
    assert [sample["metadata"]["index"] for sample in job.samples] == list(range(10))
    assert "reused_samples" not in whole["additional_info"]


def test_a_sample_of_another_prompt_is_sent_again(
    job: JobDirectory, callback: CallbackServer, tmp_path: Path
):
    model = Model()
    previous = tmp_path / "previous.jsonl"
    with AnsweringServer(model) as server:
        job.use(server.url, max_retries=0)
        job.document["num_examples"] = 3
        assert job.run().status == 0
        first, second, third = job.samples
        lines = [first | {"input": "another"}, second | {"target": {"answer": -1}}, third | {"epoch": 1}]
        previous.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
        model.prompts.clear()
        assert job.run(EVALHUB_PREVIOUS_SAMPLES_PATH=str(previous)).status == 0
    assert len(model.prompts) == 3


@pytest.mark.parametrize(("benchmark", "sent"), [("instruction_following", 0), ("latency", 3)])
def test_times_are_measured_again_and_a_finished_benchmark_needs_no_model(
    benchmark: str, sent: int, job: JobDirectory, callback: CallbackServer, tmp_path: Path
):
    model = Model()
    previous = tmp_path / "previous.jsonl"
    with AnsweringServer(model) as server:
        job.use(server.url, benchmark)
        job.document["num_examples"] = 3
        assert job.run().status == 0
        previous.write_bytes(job.samples_file.read_bytes())
        model.prompts.clear()
        assert job.run(EVALHUB_PREVIOUS_SAMPLES_PATH=str(previous)).status == 0
    assert len(model.prompts) == sent
