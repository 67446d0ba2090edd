"""Commands about managed environments: ``adapters list``, ``install``, ``update``, ``remove`` and ``doctor``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from evalhub_server.cli.help import Command, Group
from evalhub_server.environments.frameworks import FRAMEWORKS

F = TypeVar("F", bound=Callable[..., Any])
NAMES = click.Choice(list(FRAMEWORKS))

_EPILOG = """\
\b
Exit status: 0 success; 1 failure, or an environment with an error ("doctor");
2 wrong usage; 130 interrupt. Whatever fails leaves what was installed before.
"""


@click.group("adapters", cls=Group, epilog=_EPILOG)
def adapters_command() -> None:
    """Install evaluation frameworks.

    Each framework gets a virtual environment of its own, in EVALHUB_ADAPTERS_DIR, by default a directory for the data of
    programs below the home directory. Every server of this user finds it there.
    """


def _json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)


def _install_options(function: F) -> F:
    options = (
        click.argument("name", type=NAMES, metavar="NAME"),
        click.option(
            "--python",
            metavar="PYTHON",
            show_default="the server's, else one on PATH",
            help="Interpreter for the environment: a path, or a name such as python3.12.",
        ),
        click.option(
            "--installer",
            type=click.Choice(["auto", "pip"]),
            default="auto",
            show_default=True,
            help="auto uses uv if it is on PATH, else pip.",
        ),
        _json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@adapters_command.command("list", cls=Command)
@_json_option
def list_command(*, as_json: bool) -> int:
    """List the frameworks and their environments."""
    from evalhub_server.cli.adapters import list_environments

    return list_environments(as_json=as_json)


@adapters_command.command("install", cls=Command)
@_install_options
@click.option(
    "--lock",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="the server's",
    help="Requirements with versions and hashes to install instead, as written by 'uv pip compile --generate-hashes'.",
)
@click.option("--force", is_flag=True, help="Install again what is installed and undamaged.")
def install_command(**options: Any) -> int:
    """Install a framework.

    NAME is lm_evaluation_harness, inspect or garak. Downloads between 200 and 400 MB of packages, checks each against its
    hash and imports the framework. An interrupted install changes nothing.
    What is installed already is kept if it is not damaged.
    """
    from evalhub_server.cli.adapters import install_environment
    from evalhub_server.cli.server_choice import interrupted_by_signals

    with interrupted_by_signals():
        return install_environment(**options)


@adapters_command.command("update", cls=Command)
@_install_options
def update_command(**options: Any) -> int:
    """Update an installed framework.

    Replaces the environment if this version of the server has another lock than the one that was installed.
    """
    from evalhub_server.cli.adapters import update_environment
    from evalhub_server.cli.server_choice import interrupted_by_signals

    with interrupted_by_signals():
        return update_environment(**options)


@adapters_command.command("remove", cls=Command)
@click.argument("name", type=NAMES, metavar="NAME")
def remove_command(*, name: str) -> int:
    """Remove a framework."""
    from evalhub_server.cli.adapters import remove_environment

    return remove_environment(name)


@adapters_command.command("doctor", cls=Command)
@click.argument("name", type=NAMES, metavar="[NAME]", required=False)
@_json_option
def doctor_command(*, name: str | None, as_json: bool) -> int:
    """Check an installed framework.

    Checks the interpreter, the packages and their files against what was installed, the imports and extra data, and names a
    command for what is wrong. Without NAME, checks all that are installed. Exits with 1 if there is an error; warnings do not
    count.
    """
    from evalhub_server.cli.adapters import check_environments

    return check_environments(name, as_json=as_json)
