"""A complete adapter on the standard library: reads its job, evaluates, reports.

The server starts it once for each benchmark of a job, with EVALHUB_JOB_SPEC_PATH naming the job's file. What it prints
is the benchmark's log. With "pip install eval-hub-sdk[adapter]" the SDK does the reporting for you.
"""

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

QUESTIONS = {
    "Capital of France?": "Paris",
    "Capital of Japan?": "Tokyo",
    "Capital of Kenya?": "Nairobi",
    "Capital of Peru?": "Lima",
}


def answer(question: str, model: dict[str, Any]) -> str:
    """Ask the model here: its endpoint is model["url"], its name model["name"]. This one knows nothing of Peru."""
    return {**QUESTIONS, "Capital of Peru?": "Cusco"}[question]


def report(job: dict[str, Any], status: str, **fields: Any) -> None:
    """Tell the server: running, completed (with metrics) or failed (with error_message)."""
    event = {
        "provider_id": job["provider_id"],
        "id": job["benchmark_id"],
        "benchmark_index": job["benchmark_index"],
        "status": status,
        **fields,
    }
    url = f"{job['callback_url']}/api/v1/evaluations/jobs/{job['id']}/events"
    body = json.dumps({"benchmark_status_event": event}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    urllib.request.urlopen(request, timeout=30).close()


def main() -> None:
    job = json.loads(Path(os.environ["EVALHUB_JOB_SPEC_PATH"]).read_text("utf-8"))
    report(job, "running", phase="running_evaluation")
    questions = list(QUESTIONS)[: job["parameters"].get("limit")]
    correct = 0
    for question in questions:
        given = answer(question, job["model"])
        correct += given == QUESTIONS[question]
        print(f"{question} {given}", flush=True)
    metrics = {"exact_match": correct / len(questions), "num_samples": len(questions)}
    report(job, "completed", metrics=metrics)


if __name__ == "__main__":
    main()
