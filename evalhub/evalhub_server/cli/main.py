"""Command tree of ``eval-hub-server``.

Exit status: 0 success, 1 failure, 2 wrong usage, 130 interrupt; of clients of a server: :mod:`.client_command`.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from evalhub_server import __version__
from evalhub_server.cli import comparison_commands, data_commands, job_commands
from evalhub_server.cli.adapter_commands import adapters_command
from evalhub_server.cli.help import Command, Group, show_error
from evalhub_server.cli.output import OutputError
from evalhub_server.cli.plugin_commands import plugin_commands
from evalhub_server.cli.run_command import run_command
from evalhub_server.cli.server_options import DIRECTORY, not_blank, server_flags, server_options
from evalhub_server.errors import EvalHubError

PROGRAM = "eval-hub-server"

_ENVIRONMENT = """\
\b
Environment:
  PORT, API_HOST          same as --port and --host
  EVAL_HUB_CONFIG_DIR     same as --configdir
  EVALHUB_DATA_DIR        same as --data-dir
  DB_URL                  database, such as file:/var/lib/evalhub/evalhub.db
  LOG_LEVEL               debug, info (default), warning, error or critical
  LOG_FORMAT              console or json (default: console if standard error
                          is a terminal, JSON lines otherwise)
  EVALHUB_BASE_URL        server of the commands that need one
  EVALHUB_TOKEN           bearer token for it
  EVALHUB_TENANT          tenant of its requests
  EVALHUB_ADAPTERS_DIR    directory of installed frameworks ("adapters")
  EVALHUB_LOAD_PLUGINS    third-party plugins to load, comma-separated
                          (default: all)

Options may be written with one dash or two, and with a space or "=" before
the value. Options take precedence over variables.
"""

F = TypeVar("F", bound=Callable[..., Any])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    try:
        status = cli.main(argv, prog_name=PROGRAM, standalone_mode=False)
        return status if isinstance(status, int) else 0  # commands of plugins may return anything
    except click.ClickException as error:
        show_error(error)
        return error.exit_code
    except OutputError as error:
        if not error.closed:
            sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    except EvalHubError as error:
        sys.stderr.write(f"{PROGRAM}: {' '.join(str(error).split())}\n")
        return 1
    except (click.Abort, KeyboardInterrupt):
        return 130


def json_option(help_text: str) -> Callable[[F], F]:
    """``--json``, passed as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog=_ENVIRONMENT,
    context_settings={"help_option_names": ["--help", "-h"]},
)
@server_options
@click.version_option(__version__, "--version", "-V", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, **_options: Any) -> int:
    """Run, track and score LLM evaluations.

    Without a command, serves the REST API, as "serve" does. On a workstation: eval-hub-server --local
    """
    if context.invoked_subcommand is None:
        return _serve(context)
    return 0


@cli.command("serve", cls=Command)
@server_options
@click.option("--open", "opens", is_flag=True, help="Open the pages in a browser.")
@click.pass_context
def serve_command(context: click.Context, *, opens: bool, **_options: Any) -> int:
    """Serve the REST API (the default command).

    Runs until SIGINT or SIGTERM. "eval-hub-server --help" lists the environment variables.
    """
    return _serve(context, opens=opens)


@cli.command("check", cls=Command)
@server_options
@json_option("Print the report as JSON.")
@click.option(
    "--policy",
    "policies",
    type=click.Path(path_type=Path),
    metavar="FILE",
    multiple=True,
    help="Also validate a gate policy. Repeatable.",
)
@click.pass_context
def check_command(
    context: click.Context, *, as_json: bool, policies: tuple[Path, ...], **_options: Any
) -> int:
    """Validate configuration, providers and collections.

    Reads everything that "serve" reads, with the same options and environment, and reports every problem by
    file and line. Starts nothing and writes nothing. Exits with 1 if there is an error; warnings do not count.
    """
    from evalhub_server.cli.check import check

    return check(as_json=as_json, policies=policies, **server_flags(context))


@cli.command("init", cls=Command)
@click.argument("directory", type=DIRECTORY, metavar="DIR")
def init_command(*, directory: Path) -> int:
    """Create a configuration with a sample provider in DIR.

    DIR is created if it does not exist. Existing files are not overwritten.
    """
    from evalhub_server.cli.init import init

    return init(directory)


@cli.command("init-plugin", cls=Command)
@click.argument("name", metavar="NAME")
@click.option(
    "--kind",
    type=click.Choice(["runtime", "storage", "tracker", "exporter", "observer"]),
    required=True,
    help="What the plugin is.",
)
@click.option("--directory", type=DIRECTORY, metavar="DIR", show_default="NAME", help="Where to create it.")
def init_plugin_command(*, name: str, kind: Any, directory: Path | None) -> int:
    """Create a distribution with a working plugin and its tests.

    NAME is the name of the distribution and of the plugin, such as my-archive. The directory must be empty or not exist.
    """
    from evalhub_server.cli.init_plugin import init_plugin

    return init_plugin(name, kind, directory or Path(name))


@cli.command("demo", cls=Command)
@click.option(
    "--model-url",
    metavar="URL",
    callback=not_blank("is empty; leave it out to evaluate the stand-in"),
    help="Evaluate the model at this OpenAI-compatible endpoint. Its API key is read from OPENAI_API_KEY.",
)
@click.option(
    "--model-name",
    metavar="NAME",
    callback=not_blank("is empty; leave it out to evaluate the stand-in"),
    help="Name of the model at --model-url, such as llama3.2:3b.",
)
@click.option(
    "--num-examples",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="all",
    help="Samples per benchmark.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.IntRange(min=1),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="Cancel the job after this time.",
)
@click.option(
    "--keep", "keeps", is_flag=True, help="Open the results in a browser, and keep the server until Ctrl-C."
)
@json_option("Print only the final job resource, as JSON.")
def demo_command(**options: Any) -> int:
    """Run a small evaluation and print its results.

    Starts a server and a small stand-in model, runs the quickstart benchmarks and stops both.
    """
    from evalhub_server.cli.demo import DemoOptions, run_demo

    return run_demo(DemoOptions(**options))


@cli.command("plugins", cls=Command)
@click.argument("name", metavar="[NAME]", required=False)
@json_option("Print the list, or the plugin, as JSON.")
def plugins_command(*, name: str | None, as_json: bool) -> int:
    """List installed plugins, or describe one.

    Runtimes, storages, trackers, exporters, observers, packs and commands, each with its distribution, version and state.
    """
    from evalhub_server.cli.plugins import describe_plugin, list_plugins

    return list_plugins(as_json=as_json) if name is None else describe_plugin(name, as_json=as_json)


for _command in (
    run_command,
    *job_commands.COMMANDS,
    *comparison_commands.COMMANDS,
    *data_commands.COMMANDS,
    adapters_command,
):
    cli.add_command(_command)
cli.more = lambda: plugin_commands(cli.commands)


def _serve(context: click.Context, *, opens: bool = False) -> int:
    from evalhub_server.cli.signals import exit_on_signals

    exit_on_signals()
    gc.disable()  # until the server has started: nearly all of what a start allocates stays
    try:
        _import_structlog()
        from evalhub_server.cli.serve import serve

        return serve(opens=opens, **server_flags(context))
    finally:
        gc.enable()


def _import_structlog() -> None:
    """Import structlog without the packages that it imports if they are installed and that are not used here."""
    hidden = [name for name in ("rich", "greenlet") if name not in sys.modules]
    if "structlog" in sys.modules:
        return
    for name in hidden:
        sys.modules[name] = cast("Any", None)  # makes "import rich" raise ImportError
    try:
        importlib.import_module("structlog")
    finally:
        for name in hidden:
            del sys.modules[name]
