"""Commands that read jobs, and ``cancel``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
import msgspec

from evalhub_server.cli.benchmark_progress import done_text
from evalhub_server.cli.client_command import report
from evalhub_server.cli.output import write
from evalhub_server.cli.server_choice import open_client
from evalhub_server.cli.tables import duration, number, print_json, print_lines, print_table
from evalhub_server.client import Client, Job, ResponseError, Unsupported
from evalhub_server.client.resources import (
    BenchmarkStatus,
    Json,
    Page,
    Test,
    benchmark_results,
    benchmark_statuses,
    sample_state,
)
from evalhub_server.domain.plain_text import plain_text

SAMPLES_S = 10.0
POLL_S = 0.1
TEXT_COLUMNS = 60
"""Longer texts of samples are shortened in tables."""


def list_jobs(server: str | None, limit: int, filters: Mapping[str, Any], *, as_json: bool) -> int:
    with open_client(server) as client:
        page = _job_page(client, limit, filters)
    if as_json:
        print_json(page)
        return 0
    rows = [
        (
            job["resource"]["id"],
            _time(job["resource"].get("created_at")),
            job["name"],
            job["model"]["name"],
            job["status"]["state"],
            score_text(job.get("results", {}).get("test")),
            duration(job["status"].get("duration_s")),
        )
        for job in page["items"]
    ]
    print_table(("Job", "Created", "Name", "Model", "State", "Score", "Duration"), rows)
    if page["total_count"] > len(rows):
        print_lines([f"{len(rows)} of {page['total_count']} jobs; --limit shows more."])
    return 0


def count_jobs(server: str | None, facet: str, filters: Mapping[str, Any], *, as_json: bool) -> int:
    with open_client(server) as client:
        page = client.jobs.list(limit=1, view="summary", facets=facet, **filters)
    (counted,) = page.get("facets", [])
    if as_json:
        print_json(counted)
        return 0
    print_table((facet, "Jobs"), [(each["value"], str(each["count"])) for each in counted["values"]])
    if counted["distinct"] > len(counted["values"]):
        print_lines([f"The most frequent {len(counted['values'])} of {counted['distinct']} values."])
    return 0


def _job_page(client: Client, limit: int, filters: Mapping[str, Any]) -> Page[Job]:
    try:
        return client.jobs.list(limit=limit, view="summary", **filters)
    except Unsupported as error:
        if "view" not in str(error).partition("allowed")[0]:
            raise
        return client.jobs.list(limit=limit, **filters)  # an older server


def show_job(server: str | None, job_id: str, *, as_json: bool) -> int:
    with open_client(server) as client:
        job = client.jobs.get(job_id)
    if as_json:
        print_json(job)
    else:
        print_job(job)
    return 0


def print_job(job: Job) -> None:
    """Print the request, the state and the results of a job."""
    resource, status = job["resource"], job["status"]
    facts = {
        "Job": resource["id"],
        "Name": job["name"],
        "Model": " at ".join(filter(None, (job["model"]["name"], job["model"].get("url", "")))),
        "Collection": job.get("collection", {}).get("id", ""),
        "Tags": ", ".join(job.get("tags", [])),
        "Repeats": resource.get("derived_from", ""),
        "Created": _time(resource.get("created_at")),
        "Duration": duration(status.get("duration_s")),
        "State": status["state"],
        "Message": plain_text(status["message"]["message"]).strip() if "message" in status else "",
        "Score": score_text(job.get("results", {}).get("test")),
    }
    width = max(map(len, facts))
    print_lines(f"{name:{width}}  {line}" for name, text in facts.items() for line in text.splitlines()[:5])
    print_lines([""])
    print_table(("#", "Benchmark", "State", "Score", "Metrics"), [*benchmark_rows(job)])
    if phases := [*phase_rows(job)]:
        print_lines([""])
        print_table(("#", "Benchmark", "Phases"), phases)


def benchmark_rows(job: Job) -> Iterator[tuple[str, str, str, str, str]]:
    """Position, benchmark, state, score, and metrics or failure of each benchmark."""
    results = {result.get("benchmark_index"): result for result in benchmark_results(job)}
    for status in benchmark_statuses(job):
        result = results.get(status["benchmark_index"])
        metrics = metrics_text(result.get("metrics", {}) if result else status.get("running_metrics", {}))
        failure = plain_text(status.get("error_message", {}).get("message", "")).strip().partition("\n")[0]
        yield (
            str(status["benchmark_index"]),
            f"{status['provider_id']}/{status['id']}",
            state_text(status),
            score_text(result.get("test") if result else None),
            metrics or failure,
        )


def phase_rows(job: Job) -> Iterator[tuple[str, str, str]]:
    """Position, benchmark, and how long each of its phases took or has taken."""
    for status in benchmark_statuses(job):
        texts = [
            f"{each['phase'].replace('_', ' ')} {duration(each['duration_s']) if 'duration_s' in each else '…'}"
            for each in status.get("phases", [])
        ]
        if texts:
            yield str(status["benchmark_index"]), f"{status['provider_id']}/{status['id']}", ", ".join(texts)


def state_text(status: BenchmarkStatus) -> str:
    """The state of a benchmark with what is known of its progress."""
    if status["status"] != "running":
        return status["status"]
    progress = status.get("progress")
    details = [status.get("phase", "").replace("_", " "), done_text(progress) if progress else ""]
    text = ", ".join(filter(None, details))
    return f"running ({text})" if text else "running"


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Metrics as ``name=value``, separated by commas."""
    return ", ".join(f"{name}={number(value)}" for name, value in metrics.items())


def print_logs(
    server: str | None, job_id: str, index: int | None, tail: int, *, follow: bool, as_json: bool
) -> int:
    with open_client(server) as client:
        if follow:
            pieces = client.jobs.follow_logs(job_id, index, tail_lines=tail)
        else:
            pieces = client.jobs.logs(job_id, index, tail_lines=tail)
        for line in _lines(pieces):
            write(msgspec.json.encode({"line": line}).decode() + "\n" if as_json else f"{line}\n")
    return 0


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Lines without control sequences, each as soon as it is complete."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from map(plain_text, lines)
    if rest:
        yield plain_text(rest)


def list_samples(
    server: str | None,
    job_id: str,
    index: int | None,
    query: Mapping[str, Any],
    sample_id: str | None,
    epoch: int,
    *,
    as_json: bool,
) -> int:
    with open_client(server) as client:
        if index is None:
            index = _only_benchmark(client.jobs.get(job_id))
        try:
            client.samples.list(job_id, index, limit=1)
        except ResponseError as error:
            if error.message_code != "samples_not_available":
                raise
            _wait_for_samples(client, job_id, index)
        if sample_id is not None:
            print_json(client.samples.get(job_id, index, sample_id, epoch))
            return 0
        page = client.samples.list(job_id, index, **query)
    if as_json:
        print_json(page)
        return 0
    rows = [
        (
            _cell(sample.get("sample_id")),
            str(sample.get("epoch", 0)),
            _cell(sample.get("outcome")),
            metrics_text(sample.get("metrics") or {}),
            _cell(sample.get("error") or sample.get("answer") or sample.get("output")),
            _cell(sample.get("target")),
        )
        for sample in page["items"]
    ]
    print_table(("Sample", "Epoch", "Outcome", "Metrics", "Output", "Target"), rows)
    print_lines([f"{len(rows)} of {page['total_count']} samples"])
    return 0


def _wait_for_samples(client: Client, job_id: str, index: int) -> None:
    """Wait for a moment if the benchmark has completed and its samples are not stored yet."""
    deadline = time.monotonic() + SAMPLES_S
    while time.monotonic() < deadline:
        statuses = [
            each for each in benchmark_statuses(client.jobs.get(job_id)) if each["benchmark_index"] == index
        ]
        if not any(
            each["status"] == "completed" and sample_state(each) in ("", "pending") for each in statuses
        ):
            return
        time.sleep(POLL_S)


def _only_benchmark(job: Job) -> int:
    statuses = benchmark_statuses(job)
    if len(statuses) != 1:
        names = ", ".join(
            f"{each['benchmark_index']} {each['provider_id']}/{each['id']}" for each in statuses
        )
        raise click.UsageError(
            f"The job has {len(statuses)} benchmarks; choose one with --benchmark: {names}"
        )
    return statuses[0]["benchmark_index"]


def cancel_jobs(server: str | None, job_ids: Sequence[str], *, delete: bool, as_json: bool) -> int:
    cancelled: list[str] = []
    refused: list[str] = []
    with open_client(server) as client:
        for job_id in job_ids:
            try:
                left = client.jobs.cancel(job_id, hard_delete=delete)
            except ResponseError as error:
                if error.status != 409:
                    raise
                report(str(error))
                refused.append(job_id)
            else:
                cancelled.append(job_id)
                if left:
                    report(f"Job {job_id}: {left}")
    done = "deleted" if delete else "cancelled"
    if as_json:
        print_json({done: cancelled, "refused": refused})
    else:
        print_lines(f"Job {job_id} is {done}" for job_id in cancelled)
    return 1 if refused else 0


def _cell(value: Json | str | float | None) -> str:
    text = value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
    text = " ".join(text.split())
    return text if len(text) <= TEXT_COLUMNS else text[: TEXT_COLUMNS - 1] + "…"


def score_text(test: Test | None) -> str:
    """A score with its verdict; empty without one."""
    if not test:
        return ""
    value = test.get("score", test.get("primary_score"))
    verdict = "pass" if test.get("pass") else "below threshold"
    return " ".join(filter(None, (test.get("primary_score_metric", ""), number(value), f"({verdict})")))


def _time(text: str | None) -> str:
    """A time of the API, to the second."""
    return (text or "").partition(".")[0].removesuffix("Z").replace("T", " ")
