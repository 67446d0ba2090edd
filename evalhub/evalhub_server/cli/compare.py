"""Commands ``compare``, ``leaderboard`` and ``baseline``."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import msgspec

from evalhub_server.cli.server_choice import open_client
from evalhub_server.cli.tables import number, print_json, print_lines, print_table
from evalhub_server.client import ClientError, ResourceNotFound
from evalhub_server.domain.comparison_view import ComparedJob, JobComparison, JobLeaderboard, LeaderboardEntry
from evalhub_server.domain.leaderboard_entries import other_settings
from evalhub_server.domain.statistics.results import BenchmarkComparison, Rank, ScoreSummary, SuiteComparison

T = TypeVar("T")
_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BY_NAME = "name:"


def reference(job_or_name: str) -> str:
    """A job's id as it is, and the name of a baseline as ``name:NAME``."""
    is_reference = _JOB_ID.fullmatch(job_or_name) or job_or_name.startswith(_BY_NAME)
    return job_or_name if is_reference else f"{_BY_NAME}{job_or_name}"


@contextmanager
def known(*jobs_or_names: str) -> Generator[None]:
    """Explain the response to a request with these references if one of them, perhaps a mistyped id, is not known."""
    try:
        yield
    except ResourceNotFound as error:
        if all(map(_JOB_ID.fullmatch, jobs_or_names)):
            raise
        text = (
            f"{error} What is not the whole id of a job is taken for the name of a baseline. 'eval-hub-server jobs' lists "
            "jobs, 'eval-hub-server baseline' lists baselines."
        )
        raise ResourceNotFound(text, error.status, error.message_code, error.errors) from None


def converted(answer: Any, type_: type[T]) -> T:
    """A response as the struct that it is; raises :class:`ClientError` for that of an incompatible server."""
    try:
        return msgspec.convert(answer, type_)
    except msgspec.ValidationError as error:
        raise ClientError(
            f"the response of the server is not understood: {error}. Is it of another version?"
        ) from None


def compare(
    server: str | None, baseline: str, candidates: Sequence[str], query: dict[str, Any], *, as_json: bool
) -> int:
    """Print comparisons with a baseline."""
    with open_client(server) as client, known(baseline, *candidates):
        answer = client.compare(reference(baseline), [reference(each) for each in candidates], **query)
    if as_json:
        print_json(answer)
        return 0
    comparison = converted(answer, JobComparison)
    print_lines([f"Baseline: {_title(comparison.baseline)}"])
    for candidate in comparison.candidates:
        print_lines(["", f"Candidate: {_title(candidate.job)}"])
        _print_suite(candidate.comparison)
    return 0


def _print_suite(suite: SuiteComparison) -> None:
    rows = [_row(each) for each in suite.benchmarks]
    print_table(
        ("Benchmark", "Items", "Baseline", "Candidate", "Difference", "p", "Fixed/broken", "Verdict"), rows
    )
    lines = [f"Suite: {suite.wording}"]
    for each in suite.benchmarks:
        lines += [f"{each.name}: {note.message}" for note in (*each.reasons, *each.warnings)]
    lines += [f"Note: {note.message}" for note in (*suite.reasons, *suite.warnings)]
    print_lines(lines)


def _row(each: BenchmarkComparison) -> tuple[str, ...]:
    difference, flips = each.difference, each.flips
    p = (difference.p if difference.p_adjusted is None else difference.p_adjusted) if difference else None
    return (
        each.name,
        str(each.n_matched),
        _score(each.baseline),
        _score(each.candidate),
        _with_interval(difference.estimate, difference.interval, sign=True) if difference else "",
        "" if p is None else f"{p:.3g}",
        f"{flips.fixed}/{flips.broken}" if flips else "",
        each.verdict.replace("_", " "),
    )


def leaderboard(
    server: str | None, collection: str | None, jobs: Sequence[str], query: dict[str, Any], *, as_json: bool
) -> int:
    """Print a leaderboard of a collection or of jobs."""
    if bool(collection) == bool(jobs):
        raise click.UsageError("Give either a collection or jobs with --job.")
    with open_client(server) as client, known(*jobs):
        if collection:
            answer = client.leaderboard(collection, **query)
        else:
            answer = client.leaderboard_of_jobs([reference(each) for each in jobs], **query)
    if as_json:
        print_json(answer)
        return 0
    found = converted(answer, JobLeaderboard)
    board = found.leaderboard
    rankings = [*([board.suite] if board.suite else []), *board.benchmarks]
    ranks = [{rank.model: rank for rank in ranking.ranks} for ranking in rankings]
    rows = [
        (
            _rank(ranks[0].get(entry.model)) if board.suite else "",
            entry.model,
            *(
                _placed(places.get(entry.model), entry, ranking.name)
                for places, ranking in zip(ranks, rankings, strict=True)
            ),
            _runs(entry),
        )
        for entry in found.entries
    ]
    suite = "Suite" if len(board.benchmarks) == found.all_benchmarks else f"Mean of {len(board.benchmarks)}"
    headers = ("Rank", "Model", *(ranking.name or suite for ranking in rankings), "Runs")
    print_table(headers, rows)
    lines: list[str] = []
    if board.suite:
        lines += ["Models with overlapping ranges of ranks cannot be distinguished."]
        lines += [
            f"Not shown to differ: {', '.join(group)}" for group in board.suite.groups if len(group) > 1
        ]
    lines += _other_settings(found.entries)
    lines += [f"{each.model} is not ranked: {each.reason}" for each in found.left_out]
    if found.incomplete and not found.left_out:
        lines += [f"Models without results of all benchmarks: {found.incomplete}"]
    for ranking in rankings:
        lines += [
            f"{ranking.name or 'Suite'}: {note.message}" for note in (*ranking.not_ranked, *ranking.warnings)
        ]
    print_lines(lines)
    return 0


def _rank(rank: Rank | None) -> str:
    if rank is None:
        return ""
    return str(rank.best_rank) if rank.best_rank == rank.worst_rank else f"{rank.best_rank}-{rank.worst_rank}"


def _placed(rank: Rank | None, entry: LeaderboardEntry, benchmark: str) -> str:
    result = entry.results.get(benchmark)
    mark = " *" if result is not None and result.configuration else ""
    return "" if rank is None else _with_interval(rank.score, rank.interval) + mark


def _runs(entry: LeaderboardEntry) -> str:
    if entry.chosen_of > 1:
        return f"best of {entry.chosen_of}"
    return f"mean of {entry.averaged}" if entry.averaged > 1 else f"newest of {entry.complete_runs}"


def _other_settings(entries: Sequence[LeaderboardEntry]) -> list[str]:
    """A line for each setting in which a result, marked in the table, differs from those of most models."""
    return [
        f"* {each.model}: other {each.difference.name} than {each.reference}: {each.difference.baseline or 'absent'} → "
        f"{each.difference.candidate or 'absent'} ({', '.join(each.benchmarks)})"
        for each in other_settings(entries)
    ]


def baseline(server: str | None, name: str | None, job: str | None, *, delete: bool, as_json: bool) -> int:
    """List, show, set or delete baselines."""
    if delete and (name is None or job is not None):
        raise click.UsageError("--delete needs the name of a baseline, and no job.")
    with open_client(server) as client:
        if name is None:
            found = client.baselines.list()["items"]
        elif delete:
            client.baselines.delete(name)
            found = []
        else:
            found = [client.baselines.put(name, job) if job else client.baselines.get(name)]
    if as_json:
        print_json({"deleted": name} if delete else found)
    elif delete:
        print_lines([f"Baseline {name} is deleted"])
    else:
        rows = [(each["name"], each["job_id"], each["resource"].get("updated_at", "")) for each in found]
        print_table(("Baseline", "Job", "Updated"), rows)
    return 0


def _title(job: ComparedJob) -> str:
    name = f", baseline {job.baseline}" if job.baseline else ""
    return f"{job.model_name} (job {job.job_id}{name})"


def _score(summary: ScoreSummary | None) -> str:
    return "" if summary is None or summary.value is None else _with_interval(summary.value, summary.interval)


def _with_interval(value: float, interval: Any, *, sign: bool = False) -> str:
    text = f"{value:+.4g}" if sign else number(value)
    return text if interval is None else f"{text} [{interval.low:.4g}, {interval.high:.4g}]"
