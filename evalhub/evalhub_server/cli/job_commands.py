"""Commands about jobs: ``jobs``, ``show``, ``logs``, ``samples``, ``rerun``, ``cancel`` and ``export``; and ``ui``, which opens their pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalhub_server.cli.client_command import ClientCommand, client_options, interrupt_option, server_option

_STATES = ("pending", "running", "completed", "failed", "cancelled", "partially_failed")
_FORMATS = ("csv", "json", "parquet", "md", "latex")
_FACETS = (
    *("status", "owner", "tags", "model_name", "model_url"),
    *("provider_id", "benchmark_id", "collection_id", "experiment_name"),
)
_LEVELS = ("jobs", "benchmarks", "samples")


def _filters(function: Any) -> Any:
    """Filters of lists of jobs, passed as ``filters``."""
    options = (
        click.option(
            "--state",
            "status",
            type=click.Choice(_STATES),
            multiple=True,
            help="State of the job; repeatable.",
        ),
        click.option("--model", "model_name", metavar="NAME", help="Name of the model."),
        click.option("--collection", "collection_id", metavar="ID", help="Collection that the job runs."),
        click.option("--benchmark", "benchmark_id", metavar="ID", help="A benchmark of the job."),
        click.option("--experiment", "experiment_name", metavar="NAME", help="Experiment of the job."),
        click.option("--tag", "tags", metavar="TAG", help="A tag of the job."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("jobs", cls=ClientCommand)
@_filters
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, metavar="N", help="Jobs to list."
)
@click.option(
    "--count-by",
    type=click.Choice(_FACETS),
    metavar="PROPERTY",
    help=f"Count the newest 5,000 jobs by this property instead: {', '.join(_FACETS)}.",
)
@client_options
def jobs_command(
    *, server: str | None, as_json: bool, limit: int, count_by: str | None, **filters: Any
) -> int:
    """List jobs, newest first."""
    from evalhub_server.cli.show import count_jobs, list_jobs

    if count_by is not None:
        return count_jobs(server, count_by, filters, as_json=as_json)
    return list_jobs(server, limit, filters, as_json=as_json)


@click.command("ui", cls=ClientCommand)
@click.option("--print", "only_print", is_flag=True, help="Print the address instead of opening a browser.")
@server_option
def ui_command(*, server: str | None, only_print: bool) -> int:
    """Open the pages of a server in a browser.

    With EVALHUB_TOKEN, the address logs in one browser within a minute. Without a display, it is printed.
    """
    from evalhub_server.cli.browser import open_pages

    return open_pages(server, only_print=only_print)


@click.command("show", cls=ClientCommand)
@click.argument("job", metavar="JOB")
@client_options
def show_command(*, job: str, server: str | None, as_json: bool) -> int:
    """Show the state and results of a job.

    JOB is its id, as "jobs" lists it.
    """
    from evalhub_server.cli.show import show_job

    return show_job(server, job, as_json=as_json)


@click.command("logs", cls=ClientCommand)
@click.argument("job", metavar="JOB")
@click.option("--follow", "-f", is_flag=True, help="Continue with new output until the job has ended.")
@click.option(
    "--benchmark",
    "index",
    type=click.IntRange(min=0),
    metavar="INDEX",
    show_default="all",
    help="Position of the benchmark in the job, from 0.",
)
@click.option(
    "--tail",
    type=click.IntRange(-1, 10000),
    default=1000,
    show_default=True,
    metavar="N",
    help="Lines from the end of each log; -1 for all.",
)
@client_options
def logs_command(
    *, job: str, follow: bool, index: int | None, tail: int, server: str | None, as_json: bool
) -> int:
    """Print the output of the adapters of a job.

    With --json, each line is a JSON object.
    """
    from evalhub_server.cli.show import print_logs

    if tail == 0:
        raise click.BadParameter("0 lines; give a positive number, or -1 for all", param_hint="'--tail'")
    return print_logs(server, job, index, tail, follow=follow, as_json=as_json)


@click.command("samples", cls=ClientCommand)
@click.argument("job", metavar="JOB")
@click.option(
    "--benchmark",
    "index",
    type=click.IntRange(min=0),
    metavar="INDEX",
    show_default="the only one",
    help="Position of the benchmark in the job, from 0.",
)
@click.option(
    "--outcome",
    type=click.Choice(("failed", "error", "passed", "unscored")),
    help="Only samples with this outcome.",
)
@click.option("--search", "q", metavar="TEXT", help="Only samples that contain this text.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    metavar="N",
    help="Samples to list.",
)
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Samples to skip.")
@click.option("--sample", "sample_id", metavar="ID", help="Print this sample, whole, as JSON.")
@click.option("--epoch", type=click.IntRange(min=0), default=0, metavar="N", help="Epoch of --sample.")
@client_options
def samples_command(
    *,
    job: str,
    index: int | None,
    limit: int,
    offset: int,
    sample_id: str | None,
    epoch: int,
    server: str | None,
    as_json: bool,
    **filters: Any,
) -> int:
    """List the samples of a benchmark of a job."""
    from evalhub_server.cli.show import list_samples

    query = {"limit": limit, "offset": offset, **filters}
    return list_samples(server, job, index, query, sample_id, epoch, as_json=as_json)


@click.command("rerun", cls=ClientCommand)
@click.argument("job", metavar="JOB")
@click.option(
    "--only",
    metavar="failed|missing|all|INDEX,...",
    default="failed",
    show_default=True,
    help="Benchmarks to repeat: by state, or by their positions in the job, from 0.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the new job has ended.")
@interrupt_option
@client_options
def rerun_command(
    *, job: str, only: str, wait: bool, on_interrupt: str | None, server: str | None, as_json: bool
) -> int:
    """Repeat benchmarks of a job in a new job.

    The exit status is that of "run".
    """
    from evalhub_server.cli.run import rerun

    indexes = only.split(",")
    if only not in ("failed", "missing", "all") and not all(each.strip().isdecimal() for each in indexes):
        raise click.BadParameter(
            f"{only!r} is not failed, missing, all or a list of positions", param_hint="'--only'"
        )
    selection = only if only in ("failed", "missing", "all") else [int(each) for each in indexes]
    return rerun(server, job, selection, wait=wait, on_interrupt=on_interrupt, as_json=as_json)


@click.command("cancel", cls=ClientCommand)
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@click.option(
    "--delete", is_flag=True, help="Remove the jobs with their results and files; this cannot be undone."
)
@client_options
def cancel_command(*, jobs: tuple[str, ...], delete: bool, server: str | None, as_json: bool) -> int:
    """Cancel jobs.

    Exits with 1 if a job has already ended.
    """
    from evalhub_server.cli.show import cancel_jobs

    return cancel_jobs(server, jobs, delete=delete, as_json=as_json)


@click.command("export", cls=ClientCommand)
@click.argument("jobs", metavar="[JOB]...", nargs=-1)
@click.option(
    "--format",
    "table_format",
    type=click.Choice(_FORMATS),
    show_default="by the name of FILE, else csv",
    help="Format of the table.",
)
@click.option(
    "--level",
    type=click.Choice(_LEVELS),
    default="benchmarks",
    show_default=True,
    help="What each row is about.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="File to write."
)
@click.option(
    "--html",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the pages of the given jobs to DIR instead: a report that needs no server.",
)
@_filters
@client_options
def export_command(
    *,
    jobs: tuple[str, ...],
    folder: Path | None,
    table_format: str | None,
    level: str,
    output: Path | None,
    server: str | None,
    as_json: bool,
    **filters: Any,
) -> int:
    """Export results as a table, or as pages.

    Of the given jobs, or of those that the filters match. --json is the same as --format json.
    """
    from evalhub_server.cli.export import export

    if folder is not None:
        from evalhub_server.cli.export_site import export_site

        if table_format or output or as_json or any(filters.values()):
            raise click.UsageError("--html takes jobs and --server, and no other option.")
        return export_site(server, jobs, folder)
    if as_json and table_format not in (None, "json"):
        raise click.UsageError("--json and another --format exclude each other.")
    return export(server, jobs, "json" if as_json else table_format, level, output, filters)


COMMANDS = (
    ui_command,
    jobs_command,
    show_command,
    logs_command,
    samples_command,
    rerun_command,
    cancel_command,
    export_command,
)
