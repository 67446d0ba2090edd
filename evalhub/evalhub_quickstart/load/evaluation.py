"""The load test as a benchmark: levels of concurrency one after the other, their samples, metrics and warnings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import NoResult
from evalhub_common.adapter.job import read_num_examples, read_parameters
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import read_model
from evalhub_common.adapter.program import Result, Run
from evalhub_common.adapter.sample_file import SampleFile
from evalhub_quickstart.load.client import LoadClient, Mode
from evalhub_quickstart.load.figures import Figures, figures, gaps, tokens_of, ttft_ms
from evalhub_quickstart.load.options import read_load_options
from evalhub_quickstart.load.sweep import Request, run_level
from evalhub_quickstart.stats import share_stderr, wilson_interval

LEVEL_METRICS = (
    "requests_per_second",
    "output_tokens_per_second",
    "mean_ttft_ms",
    "mean_itl_ms",
    "mean_latency_ms",
)
"""The metrics that are also reported for each level, as ``<name>_c<concurrency>``."""


def evaluate_load(run: Run) -> Result:
    """Run all levels.

    Raises:
        JobInvalid: a value of job.json is wrong.
        ModelUnusable: the endpoint cannot be used.
        NoResult: all requests failed.
        JobClosed, EventRefused: from the events.
    """
    model = read_model(run.document.get("model"), run.environ)
    options = read_load_options(read_parameters(run.document), read_num_examples(run.document))
    run.events.running("loading_data")
    say(f"levels of concurrency: {_listed(options.levels)}; model '{model.name}' at {model.chat.url}")
    with LoadClient(model, options) as client:
        client.probe()
        mode = client.mode

    # With a duration the number of requests is unknown, and progress counts seconds.
    duration_s = options.duration_s
    total = round(len(options.levels) * (duration_s or options.requests))
    run.events.running("running_evaluation", total=total)
    requests: list[Request] = []
    levels: list[Figures] = []
    started = time.monotonic()
    with SampleFile(run.samples) as file:

        def finished(request: Request) -> None:
            requests.append(request)
            file.write(_sample(request))
            if request.failure is not None:
                say(f"request {request.id} failed: {request.failure}")
            done = (
                round(len(levels) * duration_s + min(request.ended_s, duration_s))
                if duration_s
                else len(requests)
            )
            run.events.progress(done, total, lambda: _success(requests))

        for level in options.levels:
            levels.append(figures(level, run_level(level, model, options, mode, finished)))
            say(_summary(levels[-1]))

    run.events.running("post_processing")
    failures = [request.failure for request in requests if request.failure is not None]
    if len(failures) == len(requests):
        raise NoResult(
            f"all {len(requests)} requests failed; the first one: {failures[0]}. See {run.samples}"
        )
    notes = [_failure_note(failures, len(requests)), *_mode_notes(mode, requests)]
    if options.ignored:
        notes.append(f"parameters unknown to this benchmark were ignored: {', '.join(options.ignored)}")
    low, high = wilson_interval(len(requests) - len(failures), len(requests))
    return Result(
        metrics=_metrics(levels, requests),
        additional_info={
            "model_url": model.chat.url,
            "model_name": model.name,
            "load": "closed loop",
            "streamed": any(request.answer and request.answer.pieces for request in requests),
            "confidence": 0.95,
            "confidence_intervals": [
                {"metric": "success_rate", "method": "wilson", "confidence": 0.95, "low": low, "high": high}
            ],
            "levels": [each.document() for each in levels],
            "evaluation_s": round(time.monotonic() - started, 3),
        },
        warning="; ".join(note for note in notes if note) or None,
    )


def _metrics(levels: Sequence[Figures], requests: Sequence[Request]) -> dict[str, float]:
    """The metrics of the highest level, those of each level with a suffix, and the totals."""
    metrics = {**_success(requests), **levels[-1].metrics()}
    rates = [rate for each in levels if (rate := each.output_tokens_per_second) is not None]
    if rates:
        metrics["max_output_tokens_per_second"] = max(rates)
    for each in levels:
        found = each.metrics()
        metrics |= {f"{name}_c{each.level}": found[name] for name in LEVEL_METRICS if name in found}
    metrics["num_samples"] = len(requests)
    metrics["num_errors"] = sum(request.answer is None for request in requests)
    return metrics


def _success(requests: Sequence[Request]) -> dict[str, float]:
    answered = sum(request.answer is not None for request in requests)
    metrics = {"success_rate": answered / len(requests)}
    stderr = share_stderr(answered, len(requests))
    if stderr is not None:
        metrics["success_rate_stderr"] = stderr
    return metrics


def _sample(request: Request) -> JsonObject:
    """The line of a request; the format is that of the server's documentation."""
    answer = request.answer
    metrics: JsonObject = {"success_rate": float(answer is not None)}
    usage: JsonObject = {}
    if answer is not None:
        between = gaps(answer)
        metrics["latency_ms"] = answer.latency_s * 1000
        metrics["ttft_ms"] = ttft_ms(answer)
        metrics["itl_ms"] = between and between[0] / between[1]
        metrics["output_tokens"] = tokens_of(answer)
        usage = {"prompt_tokens": answer.prompt_tokens, "output_tokens": answer.output_tokens}
    metadata: JsonObject = {
        "concurrency": request.level,
        "started_s": round(request.started_s, 6),
        "ended_s": round(request.ended_s, 6),
        "pieces": answer and answer.pieces,
        "failure": request.error_kind,
    }
    return {
        "sample_id": request.id,
        "metrics": _known(metrics),
        "input": request.prompt,
        "output": answer and answer.text,
        "error": request.failure,
        "error_kind": "infrastructure" if request.failure is not None else None,
        "group": f"concurrency {request.level}",
        "latency_s": answer and answer.latency_s,
        "usage": _known(usage) or None,
        "metadata": _known(metadata),
    }


def _failure_note(failures: Sequence[str], total: int) -> str | None:
    if not failures:
        return None
    return f"{len(failures)} of {total} requests failed; the first one: {failures[0]}"


def _mode_notes(mode: Mode, requests: Iterable[Request]) -> list[str]:
    """What could not be measured, and why."""
    answers = [request.answer for request in requests if request.answer is not None]
    if not any(answer.pieces for answer in answers):
        cause = "refuses" if mode is Mode.WHOLE else "does not send"
        note = f"the endpoint {cause} streams, so there are no times of tokens"
        return (
            [note]
            if any(tokens_of(answer) for answer in answers)
            else [f"{note}, and reports no numbers of tokens, so there is no rate of tokens"]
        )
    if any(answer.pieces and answer.output_tokens is None for answer in answers):
        return [
            "the endpoint reports no numbers of tokens, so each piece of a stream was counted as one token"
        ]
    return []


def _summary(level: Figures) -> str:
    times = "; ".join(
        f"{name.removesuffix('_ms')} {each.mean:.1f} ms (p95 {each.percentiles[95][0]:.1f})"
        for name, each in level.times.items()
    )
    tokens = level.output_tokens_per_second
    rate = "" if tokens is None else f", {tokens:.1f} output tokens/s"
    return (
        f"concurrency {level.level}: {level.requests} requests, {level.errors} errors, "
        f"{level.requests_per_second:.2f} requests/s{rate}; {times}"
    )


def _known(members: JsonObject) -> JsonObject:
    return {name: value for name, value in members.items() if value is not None}


def _listed(levels: Sequence[int]) -> str:
    return ", ".join(map(str, levels))
