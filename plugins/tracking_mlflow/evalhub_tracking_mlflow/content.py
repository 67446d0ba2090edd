"""The content of a finished job's run in MLflow: params, metrics, tags and status. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from math import isfinite
from typing import TypeVar

import msgspec
from msgspec import Struct

from evalhub_server.plugins import JobRecord, JobRequest, Json, State, redacted, redacted_text

T = TypeVar("T")

JOB_ID = "evaluation_job_id"
CONTEXT = {"context": "eval-hub"}

KEY_LIMIT = 250
VALUE_LIMIT = 5000
_FORBIDDEN = re.compile(r"[^\w./\- ]")

STATUS = {State.COMPLETED: "FINISHED", State.CANCELLED: "KILLED"}
"""All other final states are FAILED."""


class RunContent(Struct, kw_only=True, frozen=True):
    """``start_ms`` and ``end_ms`` count from 1970; every metric has the time ``end_ms``."""

    name: str
    status: str
    start_ms: int
    end_ms: int
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    adapter_runs: tuple[str, ...]


def experiment_tags(request: JobRequest, job_id: str) -> dict[str, str]:
    """The user's tags and those of the job that creates the experiment; the latter take precedence."""
    experiment = request.experiment
    tags = redacted({tag.key: tag.value for tag in experiment.tags}) if experiment else {}
    tags |= {**CONTEXT, "evaluation_job_name": request.name, JOB_ID: job_id}
    if request.description:
        tags["evaluation_job_description"] = redacted_text(request.description)[:VALUE_LIMIT]
    return tags


def run_tags(job: JobRecord) -> dict[str, str]:
    """The tags of a new run, by which it is found again."""
    return {JOB_ID: job.id, **CONTEXT}


def run_content(job: JobRecord) -> RunContent:
    keys = benchmark_keys(job)
    return RunContent(
        name=job.request.name or f"evaluation-card-{job.id}",
        status=STATUS.get(job.state, "FAILED"),
        start_ms=milliseconds(job.created_at),
        end_ms=milliseconds(job.progress.updated_at),
        params=_unique(_params(job, keys)),
        metrics=_unique(_metrics(job, keys)),
        tags=_unique(_tags(job, keys).items()),
        adapter_runs=tuple(
            dict.fromkeys(
                b.result.mlflow_run_id for b in job.benchmarks if b.result and b.result.mlflow_run_id
            )
        ),
    )


def benchmark_keys(job: JobRecord) -> list[str]:
    """The name of each benchmark in keys: its id, followed by the index if the id is not unique."""
    names = [_clean(planned.id) for planned in job.plan.benchmarks]
    count = Counter(names)
    return [name if count[name] == 1 else f"{name}.{index}" for index, name in enumerate(names)]


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _params(job: JobRecord, keys: list[str]) -> Iterator[tuple[str, str]]:
    model, collection = job.request.model, job.request.collection
    if model is not None:
        yield "model_name", redacted_text(model.name)
        yield "model_url", redacted_text(model.url)
    if collection is not None:
        yield "collection_id", collection.id
    for key, planned in zip(keys, job.plan.benchmarks, strict=True):
        yield f"{key}/provider_id", planned.provider_id
        for name, value in redacted(planned.parameters).items():
            yield f"{key}/{name}", _text(value)


def _metrics(job: JobRecord, keys: list[str]) -> Iterator[tuple[str, float]]:
    if job.progress.test is not None:
        yield "overall_score", job.progress.test.score
        yield "overall_pass", float(job.progress.test.passed)
    for key, benchmark in zip(keys, job.benchmarks, strict=True):
        metrics = benchmark.result.metrics if benchmark.result else {}
        yield from ((f"{key}/{name}", value) for name, value in _numbers(metrics))


def _numbers(metrics: Json) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:  # an integer beyond the range of doubles
                continue
            if isfinite(number):
                yield name, number


def _tags(job: JobRecord, keys: list[str]) -> dict[str, str]:
    experiment = job.request.experiment
    tags = redacted({tag.key: tag.value for tag in experiment.tags}) if experiment else {}
    tags |= {
        **run_tags(job),
        "evaluation_job_name": job.request.name,
        "evaluation_job_state": job.state.value,
    }
    if job.request.description:
        tags["mlflow.note.content"] = redacted_text(job.request.description)[:VALUE_LIMIT]
    if job.request.tags:
        tags["evaluation_job_tags"] = ",".join(job.request.tags)[:VALUE_LIMIT]
    if job.owner:
        tags["mlflow.user"] = job.owner
    if job.progress.test is not None:
        tags["evaluation_job_pass"] = _text(job.progress.test.passed)
    for key, benchmark in zip(keys, job.benchmarks, strict=True):
        result = benchmark.result
        tags[f"{key}/state"] = benchmark.state.value
        if result is not None and result.test is not None:
            tags[f"{key}/pass"] = _text(result.test.passed)
        if result is not None and result.mlflow_run_id:
            tags[f"{key}/mlflow_run_id"] = result.mlflow_run_id[:VALUE_LIMIT]
    return tags


def _text(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"


def _clean(key: str) -> str:
    """A valid key of MLflow: allowed characters and a normalized path."""
    parts = [part for part in _FORBIDDEN.sub("_", key).split("/") if part]
    return "/".join("_" if part.strip(".") == "" else part for part in parts) or "_"


def _unique(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Values by valid keys; a number distinguishes keys that are equal after cleaning and truncation."""
    found: dict[str, T] = {}
    for key, value in pairs:
        clean = _clean(key)[:KEY_LIMIT]
        number = 2
        while clean in found:
            suffix = f"_{number}"
            clean = _clean(key)[: KEY_LIMIT - len(suffix)] + suffix
            number += 1
        found[clean] = value
    return found
