"""``eval-hub-server gate``: a policy applied to the comparison of a job with a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from evalhub_server.cli.compare import converted, known, reference
from evalhub_server.cli.server_choice import open_client
from evalhub_server.cli.tables import print_json, print_lines, print_table
from evalhub_server.client import Client
from evalhub_server.domain.comparison_view import ComparedJob, JobComparison, JobScores
from evalhub_server.domain.gate_report import gate_junit, gate_markdown
from evalhub_server.domain.statistics.gate import evaluate_gate
from evalhub_server.domain.statistics.gate_results import GateResult
from evalhub_server.domain.statistics.policy import GatePolicy, PolicyError, rounded_up
from evalhub_server.domain.statistics.results import SuiteComparison
from evalhub_server.settings.policy_file import PolicyFileError, load_policy


class GateOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Options of ``gate``."""

    job: str
    baseline: str | None
    margin: float | None
    policy: Path | None
    alpha: float | None
    attempt: int
    junit: Path | None
    markdown: Path | None


def gate(server: str | None, options: GateOptions, *, as_json: bool) -> int:
    """Evaluate a gate and print it; returns the exit status of its outcome."""
    policy = _policy(options)
    if policy is None and options.baseline is None:
        raise click.UsageError("Give --baseline and --margin, or --policy.")
    if policy is not None and options.baseline is None and _compares(policy):
        raise click.UsageError("The policy compares benchmarks, so --baseline is missing.")
    with open_client(server) as client:
        if policy is None:
            raise click.UsageError(_missing_margin(client, options))
        comparison = _comparison(client, options, policy) if _compares(policy) else None
        scores = _scores(client, options, policy) if _has_thresholds(policy) else None
    suite = comparison.candidates[0].comparison if comparison else None
    try:
        result = evaluate_gate(policy, suite, scores.scores if scores else (), options.attempt)
    except PolicyError as error:
        raise click.UsageError("\n".join(error.problems)) from None
    job = comparison.candidates[0].job if comparison else scores.job if scores else None
    baseline = comparison.baseline if comparison else None
    _write_reports(result, options, _title(job), _title(baseline))
    if as_json:
        print_json({"job": job, "baseline": baseline, "gate": result})
    else:
        _print(result, _title(job), _title(baseline))
    return result.exit_code


def _policy(options: GateOptions) -> GatePolicy | None:
    """The policy of the options; None without a margin and a file."""
    if options.policy and options.margin is not None:
        raise click.UsageError("--margin and --policy exclude each other.")
    if options.policy:
        try:
            policy = load_policy(options.policy)
        except PolicyFileError as error:
            raise click.UsageError(str(error)) from None
        return policy if options.alpha is None else replace(policy, alpha=options.alpha)
    if options.margin is None:
        return None
    policy = GatePolicy(margin=options.margin)
    return policy if options.alpha is None else replace(policy, alpha=options.alpha)


def _compares(policy: GatePolicy) -> bool:
    return not policy.benchmarks or any(policy.kind_of(each) != "threshold" for each in policy.benchmarks)


def _has_thresholds(policy: GatePolicy) -> bool:
    return any(policy.kind_of(each) == "threshold" for each in policy.benchmarks)


def _query(policy: GatePolicy) -> dict[str, Any]:
    """The options of the comparison that a policy judges, as query parameters."""
    return {
        "alpha": policy.alpha,
        "weights": policy.weights,
        "model_errors": policy.model_errors,
        "infrastructure_errors": policy.infrastructure_errors,
        "allow_parameters": ",".join(policy.allow_parameters) or None,
        "allow_prompt_change": policy.allow_prompt_change or None,
        "allow_subset": policy.allow_subset or None,
        "exact": policy.exact or None,
    }


def _comparison(client: Client, options: GateOptions, policy: GatePolicy) -> JobComparison:
    baseline = options.baseline or ""
    with known(baseline, options.job):
        answer = client.compare(reference(baseline), [options.job], margin=policy.margin, **_query(policy))
    return converted(answer, JobComparison)


def _scores(client: Client, options: GateOptions, policy: GatePolicy) -> JobScores:
    return converted(client.scores(options.job, **_query(policy)), JobScores)


def _missing_margin(client: Client, options: GateOptions) -> str:
    """The usage error without a margin, with the smallest one that the samples support."""
    policy = GatePolicy(margin=None, alpha=options.alpha or GatePolicy().alpha)
    suite = _comparison(client, options, policy).candidates[0].comparison
    text = "Give --margin, the largest acceptable loss in the metric's unit, or --policy."
    floors = _smallest_margins(suite, policy.alpha)
    if not floors:
        return f"{text} There is no benchmark whose samples support a margin: {suite.wording}"
    listed = ", ".join(f"{name} {floor:g}" for name, floor in floors)
    smallest = max(floor for _, floor in floors)
    return f"{text} With these samples it must be above {smallest:g} (by benchmark: {listed})."


def _smallest_margins(suite: SuiteComparison, alpha: float) -> list[tuple[str, float]]:
    floors = [
        (each.name, each.evidence.smallest_margin(alpha))
        for each in suite.benchmarks
        if each.evidence is not None
    ]
    return [(name, rounded_up(floor)) for name, floor in floors if floor is not None]


def _title(job: ComparedJob | None) -> str:
    if job is None:
        return ""
    return f"{job.model_name} (job {job.job_id}{f', baseline {job.baseline}' if job.baseline else ''})"


def _write_reports(result: GateResult, options: GateOptions, job: str, baseline: str) -> None:
    if options.junit:
        options.junit.write_bytes(gate_junit(result, job, baseline))
    if options.markdown:
        options.markdown.write_text(gate_markdown(result, job, baseline), "utf-8")


def _print(result: GateResult, job: str, baseline: str) -> None:
    print_lines([f"Candidate: {job}", *([f"Baseline: {baseline}"] if baseline else [])])
    print_table(
        ("Benchmark", "Outcome", "Items", "Finding"),
        [
            (
                row.name if row.required else f"{row.name} (not required)",
                row.outcome,
                str(row.n),
                row.wording,
            )
            for row in result.benchmarks
        ],
    )
    print_lines([*(f"Note: {each.message}" for each in result.warnings), f"Gate: {result.wording}"])
