"""``python -m evalhub_quickstart``: runs the benchmark of the job specification."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from evalhub_common.adapter.console import say
from evalhub_common.adapter.program import Adapter, Result, Run, run_adapter
from evalhub_quickstart import __version__
from evalhub_quickstart.benchmarks import select_benchmark
from evalhub_quickstart.benchmarks.base import Outcome, intervals
from evalhub_quickstart.client import ChatClient
from evalhub_quickstart.job import read_job
from evalhub_quickstart.options import LOAD_TEST
from evalhub_quickstart.previous import read_previous
from evalhub_quickstart.runner import failure_note, run_samples


class QuickstartAdapter(Adapter):
    """The adapter of the provider ``quickstart``."""

    name, version = "evalhub-quickstart", __version__

    def evaluate(self, run: Run) -> Result:
        if run.address.benchmark_id == LOAD_TEST:
            from evalhub_quickstart.load.evaluation import evaluate_load  # only this benchmark needs it

            return evaluate_load(run)
        benchmark = select_benchmark(run.address.benchmark_id)
        job = read_job(run.document, run.address.benchmark_id, run.environ)

        run.events.running("loading_data")
        samples = benchmark.samples(job.options.requests)
        available = len(samples)
        samples = samples[: job.num_examples]
        say(f"{len(samples)} of {available} samples; model '{job.model.name}' at {job.model.chat.url}")

        previous = read_previous(run.previous_samples, benchmark, samples)
        if previous:
            say(f"{len(previous)} of {len(samples)} samples are reused from an earlier run")
        with ChatClient(job.model, job.options, default_max_tokens=benchmark.max_tokens) as client:
            if len(previous) < len(samples):
                client.probe()
            run.events.running("running_evaluation", total=len(samples))
            started = time.monotonic()

            def report(outcomes: Sequence[Outcome]) -> None:
                def metrics() -> dict[str, float]:
                    if all(outcome.error is not None for outcome in outcomes):
                        return {}
                    return benchmark.metrics(outcomes, time.monotonic() - started)

                run.events.progress(len(outcomes), len(samples), metrics)

            outcomes, wall_s = run_samples(
                benchmark,
                samples,
                client,
                concurrency=job.options.concurrency,
                samples_file=run.samples,
                previous=previous,
                progress=report,
            )

        run.events.running("post_processing")
        metrics = benchmark.metrics(outcomes, wall_s)
        metrics["num_samples"] = len(outcomes)
        metrics["num_errors"] = sum(outcome.error is not None for outcome in outcomes)
        notes = [failure_note(outcomes)]
        if job.options.ignored:
            notes.append(
                f"parameters unknown to this benchmark were ignored: {', '.join(job.options.ignored)}"
            )
        if job.num_examples is not None and job.num_examples > available:
            notes.append(f"num_examples is {job.num_examples}, but there are only {available} samples")
        return Result(
            metrics=metrics,
            additional_info={
                "model_url": job.model.chat.url,
                "model_name": job.model.name,
                "concurrency": job.options.concurrency,
                "confidence_intervals": [intervals(outcomes, benchmark.primary_mark)],
                **({"reused_samples": len(previous)} if previous else {}),
                "retries": sum(outcome.attempts - 1 for outcome in outcomes),
                "evaluation_s": round(wall_s, 3),
            },
            warning="; ".join(note for note in notes if note) or None,
        )


def main() -> int:
    """Run one benchmark and return the exit status."""
    return run_adapter(QuickstartAdapter())


if __name__ == "__main__":
    sys.exit(main())
