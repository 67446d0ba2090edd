"""The command ``run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalhub_server.cli.client_command import ClientCommand, client_options, interrupt_option

_EPILOG = """\
\b
A matrix FILE:
  models:
    - {name: llama3.2:3b, url: "http://localhost:11434/v1"}
    - {name: qwen2.5:3b, url: "http://localhost:11434/v1"}
  benchmarks: [quickstart/arithmetic, quickstart/latency]
  num_examples: 20
  name: nightly
"""


@click.command("run", cls=ClientCommand, epilog=_EPILOG)
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--model-url", metavar="URL", help="Endpoint of the model; with --model-name.")
@click.option("--model-name", metavar="NAME", help="Name of the model at that endpoint.")
@click.option(
    "--model", "models", multiple=True, metavar="NAME=URL", help="A model; repeatable, one job for each."
)
@click.option(
    "--benchmark",
    "-b",
    "benchmarks",
    multiple=True,
    metavar="PROVIDER/ID",
    help="A benchmark; repeatable. The provider may be left out if only one has it, or only one can run here.",
)
@click.option("--collection", metavar="ID", help="Run the benchmarks of a collection.")
@click.option("--num-examples", type=click.IntRange(min=1), metavar="N", help="Samples per benchmark.")
@click.option(
    "--test-data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Test data of all benchmarks: a directory on the server's computer, in local mode.",
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of all benchmarks; repeatable. Those that a collection sets take precedence.",
)
@click.option("--name", metavar="NAME", show_default="name of the model", help="Name of the jobs.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag of the jobs; repeatable.")
@click.option("--experiment", metavar="NAME", help="Experiment of the tracker that gets the results.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the jobs have ended.")
@interrupt_option
@client_options
def run_command(
    *, server: str | None, as_json: bool, wait: bool, on_interrupt: str | None, **options: Any
) -> int:
    """Evaluate models on benchmarks.

    Creates a job for each model, and shows their progress and results. FILE is a matrix of models and benchmarks in
    YAML; options replace what it says.

    Without a server at --server, EVALHUB_BASE_URL or http://localhost:8080, one is started for the duration of the
    command. Its data stay in EVALHUB_DATA_DIR, by default a directory for the data of programs below the home
    directory, where the other commands find them.

    Exits with 0 if all jobs completed, 1 if one failed or failed in part, 130 if they were cancelled or detached, 64
    for wrong usage and 69 if the server cannot be used. Scores below a threshold do not matter: see "gate".
    """
    from evalhub_server.cli.run import run
    from evalhub_server.cli.run_request import RunOptions

    return run(server, RunOptions(**options), wait=wait, on_interrupt=on_interrupt, as_json=as_json)
