"""Commands that are clients of a server: their options, and their exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from evalhub_server.cli.help import Command
from evalhub_server.cli.output import OutputError
from evalhub_server.errors import EvalHubError

USAGE = 64
"""Wrong usage, or a request that the server refuses because of what it contains (EX_USAGE)."""
UNAVAILABLE = 69
"""The server cannot be reached, refuses the credentials, fails or lacks the route; or a file cannot be read or written."""
INTERRUPTED = 130

F = TypeVar("F", bound=Callable[..., Any])


class ClientUsageError(click.UsageError):
    """Wrong usage of a client command."""

    exit_code = USAGE


class ClientCommand(Command):
    """A command with the exit statuses of clients; the function's result is the status, None means 0.

    2 and 3 stay free for commands that give them a meaning, so wrong usage is 64 instead of click's 2.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise ClientUsageError(error.format_message(), error.ctx or ctx) from None

    def invoke(self, ctx: click.Context) -> int:
        from evalhub_server.client.errors import InvalidServerUrl, NotAuthorized, ResponseError

        try:
            return super().invoke(ctx) or 0
        except click.UsageError as error:
            raise ClientUsageError(error.format_message(), error.ctx or ctx) from None
        except OutputError as error:
            if not error.closed:
                report(str(error))
            return UNAVAILABLE
        except NotAuthorized as error:
            report(f"{error} The token is read from EVALHUB_TOKEN, the tenant from EVALHUB_TENANT.")
            return UNAVAILABLE
        except ResponseError as error:
            report(_with_fields(error))
            return USAGE if error.status < 500 else UNAVAILABLE
        except InvalidServerUrl as error:
            report(str(error))
            return USAGE
        except EvalHubError as error:
            report(str(error))
            return UNAVAILABLE
        except OSError as error:
            report(f"{error.filename}: {error.strerror}." if error.filename else str(error))
            return UNAVAILABLE


def report(text: str) -> None:
    """Print an error, on one line, to standard error."""
    sys.stderr.write(f"eval-hub-server: {' '.join(text.split())}\n")


server_option = click.option(
    "--server",
    metavar="URL",
    show_default="EVALHUB_BASE_URL, else the one on this computer",
    help="Address of the server.",
)


def client_options(function: F) -> F:
    """``--server`` and ``--json``, passed as ``server`` and ``as_json``."""
    return server_option(click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function))


interrupt_option = click.option(
    "--on-interrupt",
    type=click.Choice(("ask", "cancel", "detach")),
    show_default="ask on a terminal, else detach",
    help="What Ctrl-C does: cancel the jobs, or let them run.",
)


def _with_fields(error: Any) -> str:
    """The message, and the faults of single fields that it does not mention."""
    faults = [
        f"{each.path}: {each.message}" for each in error.errors if each.path and each.path not in str(error)
    ]
    return f"{error} ({'; '.join(faults)})" if faults else str(error)
