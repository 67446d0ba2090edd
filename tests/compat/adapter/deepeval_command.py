"""An adapter in the form of the community's: it asks the model, then starts its framework's command by its bare name."""

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from evalhub.adapter import (
    DefaultCallbacks,
    EvaluationResult,
    FrameworkAdapter,
    JobCallbacks,
    JobPhase,
    JobResults,
    JobSpec,
    JobStatus,
    JobStatusUpdate,
    MessageInfo,
)

logger = logging.getLogger("deepeval-adapter")

CASES = """\
import json
from pathlib import Path

import pytest
from deepeval import assert_test
from deepeval.metrics import ExactMatchMetric
from deepeval.test_case import LLMTestCase

CASES = json.loads(Path(__file__).with_name("cases.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_case(case):
    assert_test(LLMTestCase(**case), [ExactMatchMetric()], run_async=False)
"""


class DeepEvalAdapter(FrameworkAdapter):
    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        start = time.time()
        try:
            self.report(callbacks, JobPhase.LOADING_DATA)
            with Path(config.parameters["data_dir"], "questions.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))[: config.num_examples]
            self.report(callbacks, JobPhase.RUNNING_EVALUATION)
            cases = [{**row, "actual_output": answer(config, row["input"])} for row in rows]
            scores = self.score(cases)
            self.report(callbacks, JobPhase.POST_PROCESSING)
            return results(config, scores, time.time() - start)
        except Exception as error:
            message = MessageInfo(message=str(error), message_code="evaluation_error")
            callbacks.report_status(JobStatusUpdate(status=JobStatus.FAILED, error_message=message))
            raise

    def report(self, callbacks: JobCallbacks, phase: JobPhase) -> None:
        callbacks.report_status(JobStatusUpdate(status=JobStatus.RUNNING, phase=phase))

    def score(self, cases: list[dict[str, str]]) -> list[float]:
        """The scores of the cases, from the file that ``deepeval test run`` writes."""
        assert self.local_jobs_base_path is not None
        folder = self.local_jobs_base_path / "results"
        folder.mkdir()
        (folder / "cases.json").write_text(json.dumps(cases))
        (folder / "test_cases.py").write_text(CASES)
        command = ["deepeval", "test", "run", "test_cases.py"]
        logger.info("Executing %s", " ".join(command))
        env = {**os.environ, "DEEPEVAL_RESULTS_FOLDER": str(folder)}
        with subprocess.Popen(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                logger.info("deepeval: %s", line.rstrip())
        if process.returncode not in (0, 1):  # 1: a case is below its threshold
            raise RuntimeError(f"deepeval failed with exit code {process.returncode}")
        (report,) = folder.glob("test_run_*.json")
        return [case["metricsData"][0]["score"] for case in json.loads(report.read_text())["testCases"]]


def answer(config: JobSpec, question: str) -> str:
    """The model's answer."""
    body = {"model": config.model.name, "messages": [{"role": "user", "content": question}]}
    headers = {
        "Authorization": f"Bearer {os.environ['JUDGE_API_KEY']}",
        "Content-Type": "application/json",
    }
    request = urllib.request.Request(
        f"{config.model.url}/chat/completions", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]


def results(config: JobSpec, scores: list[float], duration: float) -> JobResults:
    """One result for each case, and their mean."""
    each = [
        EvaluationResult(metric_name=f"case_{i}.Exact Match", metric_value=score)
        for i, score in enumerate(scores)
    ]
    mean = EvaluationResult(metric_name="exact_match_score", metric_value=sum(scores) / len(scores))
    return JobResults(
        id=config.id,
        benchmark_id=config.benchmark_id,
        benchmark_index=config.benchmark_index,
        model_name=config.model.name,
        results=[*each, mean],
        num_examples_evaluated=len(scores),
        duration_seconds=duration,
        completed_at=datetime.now(UTC),
        evaluation_metadata={"framework": "deepeval"},
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    logger.info("deepeval is %s", shutil.which("deepeval"))
    try:
        adapter = DeepEvalAdapter(job_spec_path=os.environ["EVALHUB_JOB_SPEC_PATH"])
        callbacks = DefaultCallbacks.from_adapter(adapter)
        callbacks.report_results(adapter.run_benchmark_job(adapter.job_spec, callbacks))
    except Exception:
        logger.exception("Job failed")
        sys.exit(1)


if __name__ == "__main__":
    main()
