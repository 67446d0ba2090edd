"""click commands: options with one dash or two, suggestions, and formatting by rich-click on a terminal.

rich-click and rich are imported only to print help or an error: a server needs neither. Output that does not go to a
terminal is click's plain text.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence

import click

MAX_WIDTH = 100
"""Columns; help on a wider terminal is harder to read."""


class Command(click.Command):
    """A command whose long options may have one dash or two, as in programs written in Go."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_two_dashes(args))

    def get_help(self, ctx: click.Context) -> str:
        return _rich_help(self, ctx) if sys.stdout.isatty() else super().get_help(ctx)


class Group(click.Group):
    """A group of commands, with the same options, that suggests the nearest command for an unknown one.

    ``more`` finds further commands when help or an unknown command requires them.
    """

    more: Callable[[], Mapping[str, click.Command]] = dict

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_two_dashes(args))

    def get_help(self, ctx: click.Context) -> str:
        return _rich_help(self, ctx) if sys.stdout.isatty() else super().get_help(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *self.more()]  # in the order of their definition

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.commands.get(cmd_name) or self.more().get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None:
            names = self.list_commands(ctx)
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Commands are {', '.join(names)}."
            raise click.UsageError(f"No such command '{name}'. {hint}", ctx)
        return super().resolve_command(ctx, args)


def with_two_dashes(args: Sequence[str]) -> list[str]:
    """Normalize arguments: two dashes before long options, and ``--local=true`` for ``--local``."""
    options, rest = list(args), list[str]()
    if "--" in options:
        end = options.index("--")
        options, rest = options[:end], options[end:]
    options = [f"-{arg}" if _has_one_dash(arg) else arg for arg in options]
    return ["--local=true" if arg == "--local" else arg for arg in options] + rest


def show_error(error: click.ClickException) -> None:
    """Print a usage error to standard error."""
    if not sys.stderr.isatty():
        error.show()
        return
    from rich_click import RichHelpConfiguration, RichHelpFormatter
    from rich_click.rich_help_rendering import rich_format_error

    formatter = RichHelpFormatter(config=RichHelpConfiguration(max_width=MAX_WIDTH))
    rich_format_error(error, formatter)
    sys.stderr.write(formatter.getvalue())


def _has_one_dash(arg: str) -> bool:
    return arg.startswith("-") and not arg.startswith("--") and len(arg) > 2


def _rich_help(command: click.Command, ctx: click.Context) -> str:
    from rich_click import RichCommand, RichContext, RichGroup, RichHelpConfiguration

    if isinstance(command, click.Group):
        twin = RichGroup(
            name=command.name,
            params=command.params,
            help=command.help,
            commands={**command.commands, **(command.more() if isinstance(command, Group) else {})},
        )
    else:
        twin = RichCommand(name=command.name, params=command.params, help=command.help)
    context = RichContext(
        twin,
        info_name=ctx.info_name,
        parent=ctx.parent,
        help_option_names=ctx.help_option_names,
        rich_help_config=RichHelpConfiguration(
            max_width=MAX_WIDTH,
            commands_before_options=True,
            options_table_column_types=["opt_all_metavar", "help"],
            options_table_help_sections=["help", "required", "default"],
            footer_text=(command.epilog or "").replace("\b\n", ""),  # an epilog would lose its line breaks
        ),
    )
    return twin.get_help(context)
