"""Rows about the parts of a server, by their state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_server.engine.readiness import Checked, Components, ComponentStatus
from evalhub_server.engine.server_health import HealthReport, ServerFacts, TargetState
from evalhub_server.engine.server_state import Role
from evalhub_server.plugins.runtime import Limits
from evalhub_server.viewer.health_rows import HealthRow, health_rows, sentence

AT = datetime(2026, 3, 1, tzinfo=UTC)
OK, FULL, UNAVAILABLE = ComponentStatus.OK, ComponentStatus.FULL, ComponentStatus.UNAVAILABLE
FACTS = ServerFacts(
    version="1.1",
    url="http://localhost:8080",
    local=True,
    exposed=False,
    authenticated=False,
    storage="SQLite",
    durable=True,
    runtime="local",
    limits=Limits(),
    samples="in /data/samples",
    not_kept="",
    data_dir="/data",
)
REPORT = HealthReport(
    facts=FACTS,
    read_at=AT,
    started_at=AT,
    refusal="",
    checked=Checked(
        components=Components(storage=OK, runtime=OK, disk=OK),
        at=AT,
        storage_ok_at=AT,
        free_bytes=2**30,
        disk_bytes=2**32,
    ),
    running=1,
    waiting=0,
    oldest_wait_s=None,
    targets=[],
    stored={},
)


def components(**statuses: ComponentStatus) -> Checked:
    return Checked(
        components=replace(Components(storage=OK, runtime=OK, disk=OK), **statuses), at=AT, storage_ok_at=AT
    )


def row(
    name: str, *, show_errors: bool = True, facts: dict[str, Any] | None = None, **changes: Any
) -> HealthRow:
    report = replace(REPORT, facts=replace(FACTS, **(facts or {})), **changes)
    found = health_rows(report, [], show_errors=show_errors)
    return next(each for each in found if each.name == name)


def test_all_good():
    found = health_rows(REPORT, [], show_errors=True)
    assert {each.state for each in found} == {"ok"}
    assert sentence(found) == "All good"
    assert row("Data directory").value == "/data, 1.0 GiB of 4.0 GiB free"
    assert row("Queue").value == "1 benchmark running, 0 waiting"


def test_before_the_first_check():
    found = health_rows(replace(REPORT, checked=None), [], show_errors=True)
    assert {each.name for each in found if each.state == "unknown"} == {"Storage", "Data directory"}
    assert sentence(found) == "Not all parts are checked yet"


def test_several_things_need_attention():
    report = replace(REPORT, checked=components(storage=UNAVAILABLE, disk=FULL), refusal="it is stopping")
    assert sentence(health_rows(report, [], show_errors=True)) == "3 things need attention"


@pytest.mark.parametrize(
    ("name", "changes", "state", "part_of_the_text"),
    [
        ("Server", {"refusal": "it is stopping"}, "unavailable", "it is stopping"),
        ("Server", {"role": Role.FOLLOWER}, "ok", "follows: another server"),
        ("Authentication", {"facts": {"exposed": True}}, "attention", "service.auth_token_file"),
        ("Authentication", {"facts": {"local": False}}, "ok", "headers of the proxy"),
        ("Storage", {"checked": components(storage=UNAVAILABLE)}, "unavailable", "Events of running jobs"),
        ("Storage", {"read_at": AT + timedelta(minutes=1)}, "unknown", "not answered the newest check"),
        ("Storage", {"stored": {"database": 2048}}, "ok", "2.0 KiB"),
        ("Runtime", {"checked": components(runtime=UNAVAILABLE)}, "unavailable", "is retried"),
        ("Data directory", {"checked": components(disk=FULL)}, "unavailable", "The disk is full"),
        ("Data directory", {"checked": components(disk=UNAVAILABLE)}, "unavailable", "/data"),
        ("Samples", {"facts": {"not_kept": "set samples.url"}}, "attention", "To keep them, set samples.url"),
        ("Samples", {"stored": {"samples": 10}}, "ok", "in /data/samples, 10 B"),
        ("Queue", {"waiting": 2, "oldest_wait_s": 61.0}, "ok", "2 waiting, the first for 1 min 01 s"),
        ("Queue", {"facts": {"limits": Limits(per_provider=3)}}, "ok", "At most 3 per provider"),
        ("Configuration", {"facts": {"warnings": ["unknown key"]}}, "attention", "unknown key"),
    ],
)
def test_a_part(name: str, changes: dict[str, Any], state: str, part_of_the_text: str):
    found = row(name, **changes)
    assert found.state == state
    assert part_of_the_text in f"{found.value} {found.hint}"


def test_errors_of_exports_are_not_for_every_tenant():
    target = TargetState(
        kind="tracker", name="mlflow", pending=2, failed_at=AT, error="job of another tenant"
    )
    assert row("Tracker mlflow", targets=[target]).hint == "job of another tenant"
    assert row("Tracker mlflow", targets=[target], show_errors=False).hint == "See the server's log"
    assert row("Tracker mlflow", targets=[replace(target, error="")]).state == "ok"


def test_warnings_about_the_configuration_are_not_for_every_tenant():
    found = row("Configuration", show_errors=False, facts={"warnings": ["/etc/secret", "b"]})
    assert (found.state, found.value, found.hint) == ("attention", "2 warnings", "See the server's log")
    assert not [each for each in health_rows(REPORT, [], show_errors=False) if each.name == "Configuration"]
