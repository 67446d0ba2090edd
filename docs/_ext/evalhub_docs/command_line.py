"""Reference of the command line, from the click commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from evalhub_server.cli.main import PROGRAM, cli


def command_line(_: str) -> str:
    """One section for the program, and one per command: usage, description, arguments and options."""
    return "\n".join(_sections(cli, click.Context(cli, info_name=PROGRAM)))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield _section(command, context, f"`{context.command_path}`")
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _sections(each, click.Context(each, info_name=name, parent=context))


def _section(command: click.Command, context: click.Context, title: str) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## {title}", f"```text\n{usage}\n```", inspect.cleandoc(command.help or "")]
    if isinstance(command, click.Group):
        commands = (
            f"* [`{name}`](#{context.command_path.replace(' ', '-')}-{name}): {each.get_short_help_str(200)}"
            for name, each in command.commands.items()
        )
        parts += ["Commands:", "\n".join(commands)]
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    if lines := [_option(each, context) for each in options if "--help" not in each.opts]:
        parts += ["Options:", "\n".join(lines)]
    if command.epilog:
        epilog = inspect.cleandoc(command.epilog.replace("\b\n", ""))
        parts.append(f"```text\n{epilog}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def _option(option: click.Option, context: click.Context) -> str:
    names, text = option.get_help_record(context) or ("", "")
    # click appends [default: (TEXT); RANGE].
    text = re.sub(r" \[default: \(?(.+?)\)?(?:; ([^\]]*))?\]$", r" Default: \1.", " ".join(text.split()))
    return f"* `{names}`: {text}"
