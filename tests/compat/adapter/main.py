"""An adapter in the form of the SDK's examples. The benchmark's id selects its behaviour."""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from evalhub.adapter import (
    DefaultCallbacks,
    ErrorInfo,
    EvalCardMetadata,
    EvaluationResult,
    FrameworkAdapter,
    JobCallbacks,
    JobPhase,
    JobResults,
    JobSpec,
    JobStatus,
    JobStatusUpdate,
    MessageInfo,
    OCIArtifactResult,
    resolve_model_credentials,
)
from evalhub.models import MetricSchema

logger = logging.getLogger("compat-adapter")
COMPLETED_AT = datetime(2026, 11, 23, 3, 20, 59, 597552, tzinfo=UTC)


class CompatAdapter(FrameworkAdapter):
    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        for phase in JobPhase:
            if phase is not JobPhase.COMPLETED:
                self.report(callbacks, phase)
        return getattr(self, config.benchmark_id.replace("-", "_"))(config, callbacks)

    def report(self, callbacks: JobCallbacks, phase: JobPhase) -> None:
        """Report a phase. With a directory of gates, wait until the test has seen the phase."""
        message = MessageInfo(message=f"in {phase}", message_code="phase")
        callbacks.report_status(
            JobStatusUpdate(status=JobStatus.RUNNING, phase=phase, progress=0.5, message=message)
        )
        gates = self.job_spec.parameters.get("gates")
        while gates and not (Path(gates) / phase.value).exists():
            time.sleep(0.02)

    def plain(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return results(config, acc=0.75, rank=3, label="good", exact=True)

    def timed(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """With the time at which it ends: a fixed one before the start moves the start."""
        made = results(config, acc=0.75)
        made.completed_at = datetime.now(UTC)
        return made

    def rich(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        assert self.local_jobs_base_path is not None
        folder = self.local_jobs_base_path / "results"
        folder.mkdir()
        credentials = resolve_model_credentials()
        seen = {
            "spec": config.model_dump(mode="json"),
            "given": sorted(config.model_fields_set),
            "mode": self.settings.mode,
            "api_key": credentials.api_key,
        }
        (folder / "seen.json").write_text(json.dumps(seen))
        callbacks.report_status(
            JobStatusUpdate(
                status=JobStatus.RUNNING,
                warning_message=MessageInfo(message="few examples", message_code="few"),
            )
        )
        made = results(config, acc=0.75, label="good")
        made.metrics_schema = [MetricSchema(name="label", type="categorical")]
        made.evaluation_metadata = {"artifacts": {"folder": str(folder)}}
        made.oci_artifact = OCIArtifactResult(digest="sha256:12", reference="quay.test/org/repo@sha256:12")
        made.eval_card = EvalCardMetadata(languages=["en"], languages_count=1)
        made.mlflow_run_id = "run-1"
        return made

    def generate_additional_info(self, results: JobResults) -> dict[str, object]:
        return {"dataset_sha": "abc", "shots": [0, 5]}

    def raises(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        raise RuntimeError("the framework gave up")

    def reports_and_raises(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        message = MessageInfo(message="no such model", message_code="model_missing")
        callbacks.report_status(JobStatusUpdate(status=JobStatus.FAILED, error_message=message))
        raise RuntimeError("no such model")

    def reports_the_old_way(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        error = ErrorInfo(message="no such model", message_code="model_missing")
        callbacks.report_status(JobStatusUpdate(status=JobStatus.FAILED, error=error))
        raise RuntimeError("no such model")

    def cannot_be_sent(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return results(config, acc=float("nan"))


def results(config: JobSpec, **metrics: float | int | str | bool) -> JobResults:
    return JobResults(
        id=config.id,
        benchmark_id=config.benchmark_id,
        benchmark_index=config.benchmark_index,
        model_name=config.model.name,
        results=[EvaluationResult(metric_name=n, metric_value=v) for n, v in metrics.items()],
        num_examples_evaluated=config.num_examples or 100,
        duration_seconds=1.5,
        completed_at=COMPLETED_AT,
    )


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    try:
        adapter = CompatAdapter()
        callbacks = DefaultCallbacks.from_adapter(adapter)
        made = adapter.run_benchmark_job(adapter.job_spec, callbacks)
        made.mlflow_run_id = callbacks.mlflow.save(made, adapter.job_spec) or made.mlflow_run_id
        callbacks.report_results(made)
    except Exception:
        logger.exception("the evaluation failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
