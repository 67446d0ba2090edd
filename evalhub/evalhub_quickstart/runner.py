"""Execution of a benchmark: sends all samples to the model, at most ``concurrency`` at a time, and records the outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import NoResult, RequestFailed
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.sample_file import SampleFile
from evalhub_quickstart.benchmarks.base import Benchmark, Outcome, Sample, visible_answer
from evalhub_quickstart.client import ChatClient
from evalhub_quickstart.previous import Key

PROGRESS_LINES = 10


def run_samples(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    client: ChatClient,
    *,
    concurrency: int,
    samples_file: Path,
    previous: Mapping[Key, Outcome],
    progress: Callable[[Sequence[Outcome]], None],
) -> tuple[list[Outcome], float]:
    """Send all ``samples`` to the model and score the responses, except for those with an outcome in ``previous``.

    Each outcome is appended to ``samples_file`` (JSON lines, in the order of the samples) as soon as those
    before it are written. ``progress`` is then called with all outcomes so far, in this thread; what it raises ends the run.

    Returns:
        The outcomes in the order of the samples, and the duration in seconds.

    Raises:
        NoResult: all samples failed.
        OSError: ``samples_file`` cannot be written.
    """

    def work(sample: Sample) -> Outcome:
        if (reused := previous.get((sample.id, sample.epoch))) is not None:
            return reused
        try:
            completion = client.complete(sample.prompt)
        except RequestFailed as failure:
            return Outcome(sample=sample, attempts=failure.attempts, error=str(failure), ended_at=_now())
        return Outcome(
            sample=sample,
            response=completion.text,
            marks=benchmark.marks(sample, visible_answer(completion.text)),
            latency_s=completion.latency_s,
            output_tokens=completion.output_tokens,
            attempts=completion.attempts,
            ended_at=_now(),
        )

    outcomes: list[Outcome] = []
    started = time.monotonic()
    with SampleFile(samples_file) as file, ThreadPoolExecutor(concurrency, "sample") as pool:
        try:
            for outcome in pool.map(work, samples):
                outcomes.append(outcome)
                file.write(_record(benchmark, outcome))
                _show_progress(outcomes, len(samples))
                progress(outcomes)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    wall_s = time.monotonic() - started
    errors = [outcome.error for outcome in outcomes if outcome.error]
    if len(errors) == len(outcomes):
        raise NoResult(f"all {len(outcomes)} samples failed; the first one: {errors[0]}. See {samples_file}")
    return outcomes, wall_s


def failure_note(outcomes: Sequence[Outcome]) -> str | None:
    """The warning about failed samples beside a result; None if there were none."""
    errors = [outcome.error for outcome in outcomes if outcome.error]
    if not errors:
        return None
    return f"{len(errors)} of {len(outcomes)} samples failed and were scored 0; the first one: {errors[0]}"


def _record(benchmark: Benchmark, outcome: Outcome) -> JsonObject:
    """The line of a sample; the format is that of the server's documentation."""
    sample = outcome.sample
    return {
        "sample_id": sample.id,
        "epoch": sample.epoch,
        "metrics": benchmark.sample_metrics(outcome),
        "input": sample.prompt,
        "output": outcome.response,
        "target": sample.expected or None,
        "error": outcome.error,
        "error_kind": "infrastructure" if outcome.error else None,
        "latency_s": outcome.latency_s,
        "ended_at": outcome.ended_at,
        "usage": None if outcome.output_tokens is None else {"output_tokens": outcome.output_tokens},
        "metadata": {"index": sample.index, "attempts": outcome.attempts, "marks": dict(outcome.marks)},
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _show_progress(outcomes: Sequence[Outcome], total: int) -> None:
    done = len(outcomes)
    if outcomes[-1].error:
        say(f"sample {done - 1} failed: {outcomes[-1].error}")
    if done == total or done * PROGRESS_LINES // total > (done - 1) * PROGRESS_LINES // total:
        say(f"{done} of {total} samples done")
