"""``eval-hub-server plugins``: lists installed plugins and their errors."""

from __future__ import annotations

from collections import Counter

import msgspec

from evalhub_server.cli.output import write
from evalhub_server.cli.plugin_commands import command_points
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.plugins.manager import PluginInfo


def list_plugins(*, as_json: bool) -> int:
    """Print the installed plugins as a table or as JSON; returns 0."""
    infos = sorted([*load_plugins().infos, *_commands()], key=lambda info: (info.kind, info.name))
    if as_json:
        write(msgspec.json.format(msgspec.json.encode(infos)).decode() + "\n")
        return 0
    rows = [("KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE", "HELP")]
    rows += [(i.kind, i.name, i.distribution, i.version, i.state, i.error or i.help) for i in infos]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)]
        write("  ".join([*cells, row[5]]).rstrip() + "\n")
    return 0


def _commands() -> list[PluginInfo]:
    """The commands of other distributions. What is wrong with one is found without importing it, as far as that is possible."""
    from evalhub_server.cli.main import cli

    points = command_points()
    counts = Counter(point.name for point in points)
    found: list[PluginInfo] = []
    for point in points:
        error = ""
        if point.name in cli.commands:
            error = "eval-hub-server has a command with this name"
        elif counts[point.name] > 1:
            error = "another distribution has a command with this name"
        found.append(
            PluginInfo(
                name=point.name,
                kind="command",
                distribution=point.dist.name if point.dist else "unknown",
                version=point.dist.version if point.dist else "",
                state="broken" if error else "available",
                help=point.dist.metadata["Summary"] or "" if point.dist else "",
                error=error,
            )
        )
    return found
