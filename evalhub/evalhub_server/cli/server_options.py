"""Options of the commands that read a server's configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from evalhub_server.settings import ServerFlags  # at run time only what a command needs is imported

F = TypeVar("F", bound=Callable[..., Any])


class Directory(click.Path):
    """A path that is not empty; an empty one would be the working directory."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("is empty", param, ctx)
        return super().convert(value, param, ctx)


DIRECTORY = Directory()


def server_options(function: F) -> F:
    """Options of the commands that read a server's configuration."""
    options = (
        click.option(
            "--local",
            type=bool,
            metavar="[=BOOL]",
            help="Run adapters as processes on this computer, without a cluster and without authentication.",
        ),
        click.option(
            "--configdir",
            type=DIRECTORY,
            metavar="DIR",
            show_default="./config if it exists, else the bundled one",
            help="Directory with config.yaml, providers/ and collections/.",
        ),
        click.option(
            "--data-dir",
            type=DIRECTORY,
            metavar="DIR",
            show_default="in memory, lost at exit",
            help="Directory for the database and job directories; only its user may write to it.",
        ),
        click.option(
            "--host",
            metavar="HOST",
            callback=not_blank("is empty"),
            show_default="service.host, else 127.0.0.1",
            help="Address to listen on.",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            metavar="PORT",
            show_default="service.port, else 8080",
            help="Port to listen on; 0 selects a free one.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def not_blank(message: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    def check(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        # Usually ``--option "$VARIABLE"`` with a variable that is not set.
        if value is not None and not value.strip():
            raise click.BadParameter(message)
        return value

    return check


def server_flags(context: click.Context) -> ServerFlags:
    """Options of :func:`server_options`. Those after the command take precedence over those before it."""
    values = dict(context.params)
    if context.parent is not None:
        values |= {name: value for name, value in context.parent.params.items() if values[name] is None}
    return {
        "local": bool(values["local"]),
        "configdir": values["configdir"],
        "data_dir": values["data_dir"],
        "host": values["host"],
        "port": values["port"],
    }
