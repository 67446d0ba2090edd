"""``python -m evalhub_quickstart``: runs the benchmark of the job specification.

Exit status: 0 the result was reported, or the job was closed meanwhile; 1 the benchmark failed, or could not be
reported; 2 the job specification is unusable; 143 or 130 stopped by a signal.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from evalhub_quickstart import __version__
from evalhub_quickstart.benchmarks import select_benchmark
from evalhub_quickstart.benchmarks.base import Outcome, intervals
from evalhub_quickstart.client import ChatClient
from evalhub_quickstart.console import complain, say
from evalhub_quickstart.errors import BenchmarkFailed, EventRefused, JobClosed, JobSpecUnusable
from evalhub_quickstart.events import EventSender
from evalhub_quickstart.job import JobAddress, open_job, read_job
from evalhub_quickstart.jsonvalue import JsonObject, dump
from evalhub_quickstart.previous import read_previous
from evalhub_quickstart.runner import failure_note, run_samples


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run one benchmark and return the exit status."""
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    try:
        address, document = open_job(environ)
        events = EventSender(address, environ)
    except JobSpecUnusable as error:
        complain(str(error))
        return 2
    except (OSError, ValueError) as error:
        complain(f"cannot prepare the connection to the server: {error}")
        return 2
    try:
        return _report(address, document, events, environ)
    except JobClosed as error:
        say(f"the job is closed: stopping ({error})")
        return 0
    except EventRefused as error:
        say(f"the result cannot be reported: {error}")
        return 1
    finally:
        events.close()


def _report(
    address: JobAddress, document: JsonObject, events: EventSender, environ: Mapping[str, str]
) -> int:
    try:
        _evaluate(address, document, events, environ)
        return 0
    except (JobClosed, EventRefused):
        raise
    except BenchmarkFailed as error:
        failure = error
    except Exception as error:  # noqa: BLE001  every failure is reported to the server
        import traceback  # an expensive import that few runs need

        traceback.print_exc(file=sys.stdout)
        failure = AdapterError(
            f"unexpected {type(error).__name__}: {error}. The traceback is in the benchmark's log"
        )
    say(f"failed: {failure}")
    events.failed(failure)
    return 1


class AdapterError(BenchmarkFailed):
    """Unexpected error in the adapter itself."""

    code = "adapter_error"


def _evaluate(
    address: JobAddress, document: JsonObject, events: EventSender, environ: Mapping[str, str]
) -> None:
    started = time.monotonic()
    say(
        f"evalhub-quickstart {__version__}: {address.benchmark_id}, "
        f"benchmark {address.benchmark_index} of job {address.job_id}"
    )
    events.running("initializing")
    benchmark = select_benchmark(address.benchmark_id)
    job = read_job(document, address.benchmark_id, environ)

    events.running("loading_data")
    samples = benchmark.samples(job.options.requests)
    available = len(samples)
    samples = samples[: job.num_examples]
    say(f"{len(samples)} of {available} samples; model '{job.model.name}' at {job.model.target.url}")

    results = address.directory / "results"
    # Servers that collect samples name the file.
    samples_file = Path(environ.get("EVALHUB_SAMPLES_PATH") or results / "samples.jsonl")
    previous = read_previous(environ.get("EVALHUB_PREVIOUS_SAMPLES_PATH", ""), benchmark, samples)
    if previous:
        say(f"{len(previous)} of {len(samples)} samples are reused from an earlier run")
    with ChatClient(job.model, job.options, default_max_tokens=benchmark.max_tokens) as client:
        if len(previous) < len(samples):
            client.probe()
        events.running("running_evaluation", total=len(samples))
        evaluation_started = time.monotonic()

        def report(outcomes: Sequence[Outcome]) -> None:
            def metrics() -> dict[str, float]:
                if all(outcome.error is not None for outcome in outcomes):
                    return {}
                return benchmark.metrics(outcomes, time.monotonic() - evaluation_started)

            events.progress(len(outcomes), len(samples), metrics)

        outcomes, wall_s = run_samples(
            benchmark,
            samples,
            client,
            concurrency=job.options.concurrency,
            samples_file=samples_file,
            previous=previous,
            progress=report,
        )

    events.running("post_processing")
    metrics = benchmark.metrics(outcomes, wall_s)
    metrics["num_samples"] = len(outcomes)
    metrics["num_errors"] = sum(outcome.error is not None for outcome in outcomes)

    events.running("persisting_artifacts")
    # Written to disk, so that the result survives if the last event is never accepted.
    results.mkdir(parents=True, exist_ok=True)
    (results / "metrics.json").write_text(dump(metrics) + "\n", encoding="utf-8")
    notes = [failure_note(outcomes)]
    if job.ignored:
        notes.append(f"parameters unknown to this benchmark were ignored: {', '.join(job.ignored)}")
    if job.num_examples is not None and job.num_examples > available:
        notes.append(f"num_examples is {job.num_examples}, but there are only {available} samples")
    warning = "; ".join(note for note in notes if note) or None
    if warning:
        say(f"warning: {warning}")
    say("result: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    events.completed(
        metrics,
        additional_info={
            "adapter": f"evalhub-quickstart {__version__}",
            "model_url": job.model.target.url,
            "model_name": job.model.name,
            "concurrency": job.options.concurrency,
            "confidence_intervals": [intervals(outcomes, benchmark.primary_mark)],
            **({"reused_samples": len(previous)} if previous else {}),
            "retries": sum(outcome.attempts - 1 for outcome in outcomes),
            "evaluation_s": round(wall_s, 3),
            "total_s": round(time.monotonic() - started, 3),
        },
        samples_file=samples_file,
        warning=warning,
    )
    say("reported")


def _exit(number: int, frame: FrameType | None) -> None:
    """Exit at once: the server is waiting, and all outcomes are on disk."""
    os.write(1, f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
