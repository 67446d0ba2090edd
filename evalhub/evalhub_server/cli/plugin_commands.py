"""Subcommands of other distributions, from entry points of the group ``evalhub.commands``.

Each entry point names a ``click.Command``. Its name and its distribution's summary are listed without importing it.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

COMMAND_GROUP = "evalhub.commands"


class PluginCommand(click.Command):
    """A command that is imported when it runs. ``points``: more than one if several distributions have its name."""

    def __init__(self, name: str, points: list[EntryPoint]) -> None:
        summary = points[0].dist.metadata["Summary"] if points[0].dist else ""
        super().__init__(name, short_help=summary or f"Command of {_distribution(points[0])}.")
        self.points = points

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return self._load().make_context(info_name, args, parent, **extra)

    def _load(self) -> click.Command:
        if len(self.points) > 1:
            names = " and ".join(sorted(map(_distribution, self.points)))
            raise click.ClickException(
                f"Two distributions have the command '{self.name}': {names}. Uninstall one."
            )
        (point,) = self.points
        place = f"The command '{self.name}' of {_distribution(point)}"
        try:
            loaded = point.load()
        except Exception as error:
            raise click.ClickException(
                f"{place} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(loaded, click.Command):
            raise click.ClickException(
                f"{place} is a {type(loaded).__name__}, not a click.Command. Report this to its author."
            )
        return loaded


def plugin_commands(built_in: Collection[str]) -> dict[str, PluginCommand]:
    """The commands of other distributions by name, sorted, without those that have the name of a built-in command."""
    named: dict[str, list[EntryPoint]] = {}
    for point in command_points():
        if point.name not in built_in:
            named.setdefault(point.name, []).append(point)
    return {name: PluginCommand(name, named[name]) for name in sorted(named)}


def command_points() -> list[EntryPoint]:
    """The entry points of commands that ``EVALHUB_LOAD_PLUGINS`` allows."""
    points = list(entry_points(group=COMMAND_GROUP))
    if not points:
        return points
    from evalhub_server.plugins.discovery import allowed
    from evalhub_server.plugins.manager import LOAD_PLUGINS

    named = os.environ.get(LOAD_PLUGINS)
    return [point for point in points if allowed(point.name, _distribution(point), named)]


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"
