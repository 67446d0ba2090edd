"""The state of the server as rows of a table: what works, what needs attention, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from evalhub_server.engine.readiness import ComponentStatus
from evalhub_server.engine.server_health import STALE_S, HealthReport, TargetState
from evalhub_server.engine.server_state import Role
from evalhub_server.plugins.manager import PluginInfo
from evalhub_server.viewer import numbers

RowState = Literal["ok", "attention", "unavailable", "unknown", "off"]


class HealthRow(Struct, kw_only=True, frozen=True):
    """A part of the server. ``at`` is a time that completes the value, with the words ``at_label`` before it."""

    name: str
    state: RowState
    value: str
    hint: str = ""
    at: datetime | None = None
    at_label: str = ""


def health_rows(report: HealthReport, plugins: list[PluginInfo], *, show_errors: bool) -> list[HealthRow]:
    """The rows. ``show_errors``: with the errors of exports, which may be about jobs of any tenant, and the warnings about the configuration, which may have paths and settings."""
    return [
        *_server(report),
        _storage(report),
        _runtime(report),
        _queue(report),
        *(_target(each, show_errors=show_errors) for each in report.targets),
        _disk(report),
        _samples(report),
        _plugins(plugins),
        *_configuration(report.facts.warnings, show=show_errors),
    ]


def sentence(rows: list[HealthRow]) -> str:
    """The state of all rows in one sentence."""
    troubled = [row for row in rows if row.state in ("attention", "unavailable")]
    if troubled:
        return f"{numbers.counted(len(troubled), 'thing needs', 'things need')} attention"
    return "Not all parts are checked yet" if any(row.state == "unknown" for row in rows) else "All good"


ROLES = {
    Role.STARTING: "starts",
    Role.LEADER: "leads: it supervises the jobs of all servers of the database",
    Role.FOLLOWER: "follows: another server supervises the jobs",
    Role.OUSTED: "lost the lead",
}


def _server(report: HealthReport) -> Iterator[HealthRow]:
    facts = report.facts
    mode = "local mode" if facts.local else "cluster mode"
    role = f", {ROLES[report.role]}" if report.role is not None else ""
    yield HealthRow(
        name="Server",
        state="unavailable" if report.refusal else "ok",
        value=f"version {facts.version}, {mode}, {facts.url}{role}",
        hint=report.refusal,
        at=report.started_at,
        at_label="started",
    )
    if facts.authenticated:
        yield HealthRow(name="Authentication", state="ok", value="by token")
    elif not facts.local:
        yield HealthRow(name="Authentication", state="ok", value="by the headers of the proxy")
    elif facts.exposed:
        yield HealthRow(
            name="Authentication",
            state="attention",
            value="none, and other computers can reach the server",
            hint="Set service.auth_token_file, or listen on 127.0.0.1",
        )
    else:
        yield HealthRow(
            name="Authentication", state="ok", value="none; only this computer can reach the server"
        )


def _storage(report: HealthReport) -> HealthRow:
    facts, checked = report.facts, report.checked
    size = report.stored.get("database")
    parts = [facts.storage, "durable" if facts.durable else "in memory"]
    value = ", ".join([*parts, *([numbers.size(size)] if size else [])])
    if checked is None:
        return HealthRow(name="Storage", state="unknown", value=value, hint="It has not answered a check yet")
    if checked.components.storage is not ComponentStatus.OK:
        return HealthRow(
            name="Storage",
            state="unavailable",
            value=value,
            hint="Events of running jobs are kept and stored as soon as it works; see the server's log",
            at=checked.storage_ok_at,
            at_label="last worked",
        )
    if (report.read_at - checked.at).total_seconds() > STALE_S:
        return HealthRow(
            name="Storage",
            state="unknown",
            value=value,
            hint="It has not answered the newest check yet",
            at=checked.at,
            at_label="last checked",
        )
    return HealthRow(
        name="Storage",
        state="ok" if facts.durable else "attention",
        value=value,
        hint="" if facts.durable else "Jobs are lost when the server stops. Start it with --data-dir",
    )


def _runtime(report: HealthReport) -> HealthRow:
    failing = report.checked is not None and report.checked.components.runtime is ComponentStatus.UNAVAILABLE
    return HealthRow(
        name="Runtime",
        state="unavailable" if failing else "ok",
        value=report.facts.runtime,
        hint="A call of it failed and is retried; see the server's log" if failing else "",
    )


def _queue(report: HealthReport) -> HealthRow:
    limits = report.facts.limits
    named = (
        ("in total", limits.total),
        ("per provider", limits.per_provider),
        ("per model", limits.per_model),
    )
    texts = [f"{limit} {name}" for name, limit in named if limit is not None]
    oldest = (
        f", the first for {numbers.duration(report.oldest_wait_s)}"
        if report.oldest_wait_s is not None
        else ""
    )
    return HealthRow(
        name="Queue",
        state="ok",
        value=f"{numbers.counted(report.running, 'benchmark')} running, {numbers.count(report.waiting)} waiting{oldest}",
        hint=f"At most {', '.join(texts)}" if texts else "",
    )


def _target(target: TargetState, *, show_errors: bool) -> HealthRow:
    name = f"{target.kind.capitalize()} {target.name}"
    waiting = f"{numbers.counted(target.pending, 'job')} pending"
    if target.error:
        return HealthRow(
            name=name,
            state="attention",
            value=f"{waiting}; the last attempt failed",
            hint=target.error if show_errors else "See the server's log",
            at=target.failed_at,
        )
    return HealthRow(
        name=name,
        state="ok",
        value=waiting,
        at=target.succeeded_at,
        at_label="last export" if target.succeeded_at else "",
    )


def _disk(report: HealthReport) -> HealthRow:
    facts, checked = report.facts, report.checked
    if not facts.data_dir:
        return HealthRow(name="Data directory", state="off", value="none")
    if checked is None or checked.components.disk is ComponentStatus.UNAVAILABLE:
        state: RowState = "unknown" if checked is None else "unavailable"
        return HealthRow(name="Data directory", state=state, value=facts.data_dir)
    free = (
        f", {numbers.size(checked.free_bytes)} of {numbers.size(checked.disk_bytes)} free"
        if checked.free_bytes is not None
        else ""
    )
    full = checked.components.disk is ComponentStatus.FULL
    return HealthRow(
        name="Data directory",
        state="unavailable" if full else "ok",
        value=f"{facts.data_dir}{free}",
        hint="The disk is full. Free some space, for example with eval-hub-server prune" if full else "",
    )


def _samples(report: HealthReport) -> HealthRow:
    facts = report.facts
    if facts.not_kept:
        return HealthRow(
            name="Samples", state="attention", value="not kept", hint=f"To keep them, {facts.not_kept}"
        )
    size = report.stored.get("samples")
    return HealthRow(
        name="Samples", state="ok", value=", ".join([facts.samples, *([numbers.size(size)] if size else [])])
    )


def _plugins(plugins: list[PluginInfo]) -> HealthRow:
    broken = [info.name for info in plugins if info.state == "broken"]
    return HealthRow(
        name="Plugins",
        state="attention" if broken else "ok",
        value=f"{len(plugins)} installed" + (f", {len(broken)} could not be loaded" if broken else ""),
        hint=f"See the page of plugins: {', '.join(broken)}" if broken else "",
    )


def _configuration(warnings: Sequence[str], *, show: bool) -> list[HealthRow]:
    if show or not warnings:
        return [HealthRow(name="Configuration", state="attention", value=text) for text in warnings]
    return [
        HealthRow(
            name="Configuration",
            state="attention",
            value=numbers.counted(len(warnings), "warning"),
            hint="See the server's log",
        )
    ]
