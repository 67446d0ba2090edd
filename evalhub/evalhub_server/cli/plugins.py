"""``eval-hub-server plugins``: lists installed plugins and their errors, or describes one."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import Any

import msgspec
import yaml

from evalhub_server.cli.output import write
from evalhub_server.cli.plugin_commands import command_points
from evalhub_server.errors import PluginError
from evalhub_server.plugins.discovery import info_of, load_plugins
from evalhub_server.plugins.manager import DISTRIBUTION, Offer, PluginInfo
from evalhub_server.settings.keys import keys_below


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


SELECTED_BY = {
    "runtime": "plugins.runtime: {name}",
    "storage": "plugins.storage: {name}",
    "tracker": "plugins.trackers: [{name}]; by default, if its section is configured",
    "exporter": "plugins.exporters: [{name}]",
    "observer": "plugins.observers: [{name}]; by default all installed ones",
}
"""Kind → the setting that selects a plugin."""
DEFAULTS = {
    ("runtime", "local"): "--local",
    ("runtime", "kubernetes"): "by default without --local",
    ("storage", "sqlite"): "by default",
    ("storage", "postgres"): "database.driver: pgx",
    ("exporter", "oci"): "by default",
    ("exporter", "webhook"): "webhook.url",
}
"""What else selects one of the server's own plugins."""


def describe_plugin(name: str, *, as_json: bool) -> int:
    """Print what is known about a plugin; returns 0, or 1 if none has the name."""
    plugins = load_plugins()
    offers = plugins.offers(name)
    if not offers:
        others = [info for info in plugins.infos if name in (info.name, info.distribution)]
        reasons = "".join(f" {info.distribution}: {info.error or info.help}." for info in others)
        raise PluginError(
            f"No runtime, storage, tracker, exporter or observer is called '{name}'.{reasons}"
            " 'eval-hub-server plugins' lists all names."
        )
    described = [_described(offer) for offer in offers]
    if as_json:
        write(msgspec.json.format(msgspec.json.encode(described)).decode() + "\n")
        return 0
    for each in described:
        write(f"{each.kind} {each.name}: {each.help}\n\n")
        rows = [
            ("distribution", f"{each.distribution} {each.version}"),
            ("state", f"{each.state}, plugin API {each.api}" + (f": {each.error}" if each.error else "")),
            ("selected by", each.selected_by),
            ("import", f"{each.import_ms} ms"),
            ("section", each.section if each.keys else f"{each.section} (no settings)"),
        ]
        rows += [("warning", text) for text in each.warnings]
        for label, value in rows:
            write(f"  {label:<13}{value}\n")
        for key in each.keys:
            default = "" if key.default is None else f" (default: {_yaml(key.default)})"
            write(f"\n  {key.path}{default}\n")
            for line in textwrap.wrap(key.description, 74):
                write(f"      {line}\n")
        write("\n")
    return 0


class DescribedKey(msgspec.Struct, kw_only=True):
    """A setting of a plugin. ``default`` is None if the description states what applies instead."""

    path: str
    description: str
    default: Any = None


class DescribedPlugin(PluginInfo, kw_only=True, omit_defaults=False):
    """A plugin with its settings. ``import_ms``: the time that importing it took, in this process."""

    section: str
    selected_by: str
    import_ms: int
    keys: list[DescribedKey]


def _described(offer: Offer) -> DescribedPlugin:
    descriptor = offer.descriptor
    selected = SELECTED_BY[offer.kind].format(name=descriptor.name)
    if offer.info.distribution == DISTRIBUTION and (other := DEFAULTS.get((offer.kind, descriptor.name))):
        selected = f"{selected}; {other}"
    keys = [
        DescribedKey(path=key.path, description=key.description, default=key.default)
        for key in keys_below(descriptor.settings, descriptor.settings_section)
    ]
    return DescribedPlugin(
        **msgspec.structs.asdict(offer.info),
        section=descriptor.settings_section,
        selected_by=selected,
        import_ms=round(offer.import_s * 1000),
        keys=keys,
    )


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).partition("\n")[0]


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
            msgspec.structs.replace(
                info_of(point),
                kind="command",
                state="broken" if error else "available",
                help=point.dist.metadata["Summary"] or "" if point.dist else "",
                error=error,
            )
        )
    return found
