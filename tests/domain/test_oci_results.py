"""``results.oci``: every requested export has a status."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from evalhub_server.domain.job_view import job_resource
from evalhub_server.domain.record import ExportOutcome, JobRecord, OutboxEntry, with_changes
from evalhub_server.models.common import State
from evalhub_server.models.job import Exports, OciCoordinates, OciExport
from evalhub_server.testing.builders import EPOCH, a_job

ASKED = Exports(oci=OciExport(coordinates=OciCoordinates(oci_host="registry.example", oci_repository="r")))


def a_job_that_asks(job_state: State = State.COMPLETED, **export: Any) -> JobRecord:
    job = a_job(state=job_state)
    fields = {"kind": "exporter", "name": "oci", "event": "card", "since": EPOCH, **export}
    exports = (OutboxEntry(**fields),) if export else ()
    return with_changes(job, request=replace(job.request, exports=ASKED), outbox=exports)


def oci_of(job: JobRecord) -> Any:
    return msgspec.to_builtins(job_resource(job).results).get("oci")


@pytest.mark.parametrize(
    ("export", "state", "text"),
    [
        ({"state": "pending"}, "pending", "not pushed yet"),
        (
            {"state": "pending", "attempts": 2, "error": "down"},
            "pending",
            "not pushed yet, after attempt 2: down",
        ),
        ({"state": "failed", "attempts": 1, "error": "no tag"}, "failed", "not pushed: no tag"),
        ({"state": "succeeded", "attempts": 1}, "succeeded", "pushed"),
        ({}, "failed", "plugins.exporters in its configuration does not contain oci"),
        ({"name": "another"}, "failed", "plugins.exporters in its configuration does not contain oci"),
    ],
)
def test_the_status_says_how_it_stands(export: dict[str, Any], state: str, text: str):
    status = oci_of(a_job_that_asks(**export))["status"]
    assert (status["state"], status["message"]["message_code"]) == (state, f"oci_export_{state}")
    assert status["message"]["message"].endswith(text)


@pytest.mark.parametrize("state", ["succeeded", "pending"])
def test_the_card_is_where_the_last_success_put_it(state: str):
    outcome = ExportOutcome(reference="registry.example/r:t@sha256:1", digest="sha256:1")
    assert oci_of(a_job_that_asks(state=state, outcome=outcome))["evaluation_card"] == {
        "oci_digest": "sha256:1",
        "oci_reference": "registry.example/r:t@sha256:1",
    }
    assert "evaluation_card" not in oci_of(a_job_that_asks(state=state))


def test_a_job_that_has_not_ended_or_did_not_ask_has_none():
    assert oci_of(a_job_that_asks(State.RUNNING)) is None
    assert oci_of(a_job(state=State.COMPLETED)) is None
