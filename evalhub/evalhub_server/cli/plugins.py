"""``eval-hub-server plugins``: lists installed plugins and their errors."""

from __future__ import annotations

import msgspec

from evalhub_server.cli.output import write
from evalhub_server.plugins.discovery import load_plugins


def list_plugins(*, as_json: bool) -> int:
    """Print the installed plugins as a table or as JSON; returns 0."""
    infos = sorted(load_plugins().infos, key=lambda info: (info.kind, info.name))
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
