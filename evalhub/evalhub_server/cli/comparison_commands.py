"""Commands about comparisons: ``compare``, ``leaderboard``, ``gate`` and ``baseline``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import click

from evalhub_server.cli.client_command import ClientCommand, client_options

F = TypeVar("F")
_FILE = click.Path(path_type=Path, dir_okay=False)
_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)

_metric = click.option(
    "--metric", metavar="NAME", show_default="each benchmark's primary metric", help="Metric to compare."
)
_alpha = click.option(
    "--alpha",
    type=_SHARE,
    metavar="A",
    show_default="0.05",
    help="Two-sided error probability; intervals have the confidence 1 - A.",
)
_margin = click.option(
    "--margin",
    type=click.FloatRange(0, min_open=True),
    metavar="M",
    help="Largest acceptable loss, in the metric's unit: 0.02 is two points of [0, 1].",
)


@click.command("compare", cls=ClientCommand)
@click.argument("baseline", metavar="BASELINE")
@click.argument("candidates", metavar="JOB...", nargs=-1, required=True)
@_metric
@_margin
@_alpha
@client_options
def compare_command(
    *, baseline: str, candidates: tuple[str, ...], server: str | None, as_json: bool, **query: Any
) -> int:
    """Compare jobs with a baseline.

    BASELINE is the id of a job or the name of a baseline. Shows scores and differences with intervals, p values that
    are adjusted over all benchmarks, and why there is no verdict where there is none.
    """
    from evalhub_server.cli.compare import compare

    return compare(server, baseline, candidates, query, as_json=as_json)


@click.command("leaderboard", cls=ClientCommand)
@click.argument("collection", metavar="[COLLECTION]", required=False)
@click.option("--job", "jobs", multiple=True, metavar="JOB", help="Rank these jobs instead; repeatable.")
@click.option(
    "--runs",
    type=click.Choice(["latest", "mean", "best"]),
    show_default="latest",
    help="Rank each model by its newest complete job, by the mean of the newest ones with the same settings, or by the "
    "one with the best score; the choice of the best is accounted for.",
)
@click.option(
    "--bench", multiple=True, metavar="PROVIDER/ID", help="Rank on this benchmark only; repeatable."
)
@click.option("--model", multiple=True, metavar="NAME", help="Rank this model only; repeatable.")
@click.option("--since", metavar="TIME", help="Only jobs from this time on, such as 2026-01-31T12:00:00Z.")
@click.option(
    "--incomplete",
    type=click.Choice(["show", "hide"]),
    show_default="show",
    help="Name the models without results of all benchmarks.",
)
@click.option(
    "--sort",
    metavar="KEY",
    show_default="-overall",
    help="Order: overall, model, created or a benchmark; with - before it, the largest first.",
)
@click.option(
    "--weights",
    type=click.Choice(["declared", "macro", "pooled"]),
    show_default="declared",
    help="Weights of benchmarks: those of the collection, equal, or by samples.",
)
@_metric
@_alpha
@client_options
def leaderboard_command(
    *, collection: str | None, jobs: tuple[str, ...], server: str | None, as_json: bool, **query: Any
) -> int:
    """Rank models.

    Those that ran a collection, each by its newest complete job, or those of given jobs.
    """
    from evalhub_server.cli.compare import leaderboard

    return leaderboard(server, collection, jobs, query, as_json=as_json)


@click.command("gate", cls=ClientCommand)
@click.argument("job", metavar="JOB")
@click.option("--baseline", metavar="NAME|JOB", help="Name of a baseline, or the id of a job.")
@_margin
@click.option("--policy", type=_FILE, metavar="FILE", help="Policy in YAML, instead of --margin.")
@_alpha
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Number of this evaluation of the same change, if it is repeated.",
)
@click.option("--junit", type=_FILE, metavar="FILE", help="Also write a report as JUnit XML.")
@click.option("--markdown", type=_FILE, metavar="FILE", help="Also write a report in Markdown.")
@client_options
def gate_command(*, server: str | None, as_json: bool, **options: Any) -> int:
    """Decide whether a job is good enough.

    With --margin, no benchmark may be worse than the baseline by more than that. A policy file can require more.

    Exits with 0 if the gate passes, 1 if it fails, 2 if the data leave it open, and 3 if the jobs are not comparable
    or incomplete; 64 for wrong usage and 69 if the server cannot be used.
    """
    from evalhub_server.cli.gate import GateOptions, gate

    return gate(server, GateOptions(**options), as_json=as_json)


@click.command("baseline", cls=ClientCommand)
@click.argument("name", metavar="[NAME]", required=False)
@click.argument("job", metavar="[JOB]", required=False)
@click.option("--delete", is_flag=True, help="Delete the baseline; its job is kept.")
@client_options
def baseline_command(
    *, name: str | None, job: str | None, delete: bool, server: str | None, as_json: bool
) -> int:
    """List, show, set or delete baselines.

    A baseline is a name for a job. With NAME and JOB, the name stands for that job from then on; with NAME it is shown,
    and without both all are listed.
    """
    from evalhub_server.cli.compare import baseline

    return baseline(server, name, job, delete=delete, as_json=as_json)


COMMANDS = (compare_command, leaderboard_command, gate_command, baseline_command)
