"""Results of adapters: numbers that JSON does not have, and the last sentence of an unexpected failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from evalhub_common.adapter.connection import parse_url
from evalhub_common.adapter.events import EventSender
from evalhub_common.adapter.job import JobAddress
from evalhub_common.adapter.sample_file import SampleFile, read_samples, replace_samples
from harness.quickstart import CallbackServer

BROKEN = """
from evalhub_common.adapter.program import Adapter, run_adapter

class Broken(Adapter):
    name, version = "broken", "1"

    def evaluate(self, run):
        raise ValueError("there is no such row.")

raise SystemExit(run_adapter(Broken()))
"""
NAN, INFINITE = float("nan"), float("inf")


def test_a_number_that_is_not_finite_does_not_lose_a_sample(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with SampleFile(path) as file:
        file.write({"sample_id": "1", "latency_s": NAN, "metadata": {"scores": [1.5, {"value": -INFINITE}]}})
    assert list(read_samples(path)) == [
        {"sample_id": "1", "metadata": {"scores": [1.5, {"value": None}]}},
    ]
    assert replace_samples(path, [{"sample_id": "2", "target": (1, NAN), "answer": True}]) == 1
    assert list(read_samples(path)) == [{"sample_id": "2", "target": [1, None], "answer": True}]


def test_a_number_that_is_not_finite_does_not_lose_a_result() -> None:
    with CallbackServer() as callback:
        address = JobAddress(
            job_id="j",
            provider_id="p",
            benchmark_id="b",
            benchmark_index=0,
            callback=parse_url(callback.url),
            directory=Path(),
        )
        sender = EventSender(address, {})
        info: dict[str, object] = {"tasks": {"a": {"acc": NAN, "n": 1}}}
        sender.completed({"acc": 1.0}, additional_info=info, samples_file=None, warning=None)
        sender.close()
    assert callback.last["additional_info"] == {"tasks": {"a": {"acc": None, "n": 1}}}


def test_an_unexpected_failure_is_one_sentence_after_another(tmp_path: Path) -> None:
    with CallbackServer() as callback:
        job = {
            "id": "j",
            "provider_id": "p",
            "benchmark_id": "b",
            "benchmark_index": 0,
            "callback_url": callback.url,
        }
        path = tmp_path / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        variables = {**os.environ, "EVALHUB_JOB_SPEC_PATH": str(path)}
        done = subprocess.run([sys.executable, "-c", BROKEN], env=variables, timeout=60, check=False)
    assert done.returncode == 1
    assert callback.error["message"] == (
        "unexpected ValueError: there is no such row. The traceback is in the benchmark's log"
    )
