"""Jobs request exports of third-party exporters by their names, over a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalhub_server.domain.oci_coordinates import coordinates_fault
from evalhub_server.models.job import OciCoordinates
from harness import Config, RunningServer, wait_until
from harness.server import API, job_request
from harness.site import Site

SHELF = """
import json
from pathlib import Path

from msgspec import Struct

from evalhub_server.plugins import Descriptor, Exporter, ExportOutcome, ExportRefused, export_request, hookimpl


class ShelfSettings(Struct, kw_only=True, frozen=True):
    folder: str


class ShelfRequest(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    label: str
    copies: int = 1


class ShelfExporter(Exporter):
    name = "shelf"

    def __init__(self, settings, context):
        self.folder = Path(settings.folder)

    async def check(self):
        return

    def is_requested(self, job):
        return export_request(job, self.name, ShelfRequest) is not None

    async def export(self, job, entry):
        request = export_request(job, self.name, ShelfRequest)
        if (self.folder / f"{request.label} is closed").exists():
            raise ExportRefused(f"{request.label} is closed")
        (self.folder / job.id).write_text(request.label * request.copies)
        return ExportOutcome(reference=request.label)


@hookimpl
def evalhub_exporters():
    return [
        Descriptor(api=1, name="shelf", factory=ShelfExporter, settings=ShelfSettings, request=ShelfRequest),
    ]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunningServer]:
    site = Site(folder / "site")
    site.install("third-shelf", SHELF)
    config = Config(folder / "c", plugins={"exporters": ["shelf", "oci"]}, shelf={"folder": str(folder)})
    config.provider("exit 3")
    with RunningServer(config.folder, env={"PYTHONPATH": str(site.folder)}) as server:
        yield server


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ({}, "exports.shelf: object missing required field `label`"),
        ({"label": 3}, "exports.shelf.label: expected `str`, got `int`; write a text"),
        ({"label": "a", "lable": "b"}, "exports.shelf: object contains unknown field `lable`"),
        (5, "exports.shelf: expected `object`, got `int`; write keys and values below it"),
    ],
)
def test_the_request_is_validated_when_the_job_is_submitted(
    server: RunningServer, request_: object, complaint: str
):
    answer = server.call("POST", f"{API}/jobs", job_request(exports={"shelf": request_}))
    assert answer.refusal == (400, "request_validation_failed")
    assert complaint in answer.body["message"]


def test_the_exporter_gets_the_request_and_the_resource_shows_it(server: RunningServer, folder: Path):
    exports = {"shelf": {"label": "ab", "copies": 2}}
    job_id = server.submit(exports=exports)
    assert server.job(job_id)["exports"] == exports
    server.finished(job_id)
    (export,) = wait_until(
        lambda: (found := server.job(job_id)["results"]["exports"])[0]["state"] != "pending" and found,
        "the export",
    )
    assert (export["kind"], export["name"], export["state"]) == ("exporter", "shelf", "succeeded")
    assert export["reference"] == "ab"
    assert (folder / job_id).read_text() == "abab"


def test_a_request_that_no_exporter_takes_is_shown_as_failed(server: RunningServer):
    exports = {"tape": {"anything": [1]}, "webhook": {}, "shelf": {"label": "a"}}
    job_id = server.submit(exports=exports)
    job = server.finished(job_id)
    assert job["exports"] == exports
    by_name = {export["name"]: export for export in job["results"]["exports"]}
    assert (by_name["tape"]["kind"], by_name["tape"]["state"]) == ("exporter", "failed")
    assert by_name["tape"]["error"] == "no exporter of that name is installed"
    assert "installed but not selected" in by_name["webhook"]["error"]
    assert by_name["shelf"]["state"] != "failed"


def test_lists_and_cards_have_the_job_too(server: RunningServer):
    exports = {"shelf": {"label": "a"}}
    job_id = server.submit(exports=exports)
    items = server.get(f"{API}/jobs")["items"]
    assert next(item for item in items if item["resource"]["id"] == job_id)["exports"] == exports
    assert json.dumps(server.get(f"{API}/jobs/{job_id}/card"))


def test_failed_exports_are_sent_again_when_a_client_requests_it(server: RunningServer, folder: Path):
    closed = folder / "z is closed"
    closed.touch()
    job_id = server.submit(exports={"shelf": {"label": "z"}, "tape": {}})
    server.finished(job_id)

    def export() -> dict[str, object]:
        return next(each for each in server.job(job_id)["results"]["exports"] if each["name"] == "shelf")

    wait_until(lambda: export()["state"] == "failed", "the failure")
    assert export()["error"] == "z is closed"
    closed.unlink()
    retry = f"{API}/jobs/{job_id}/exports/retry"
    answer = server.call("POST", retry)
    assert answer.status == 202
    assert [(each["name"], each["state"]) for each in answer.body["exports"]] == [("shelf", "pending")]
    wait_until(lambda: export()["state"] == "succeeded", "the export")
    assert (export()["attempts"], export()["reference"]) == (1, "z")
    assert (folder / job_id).read_text() == "z"
    # What is left belongs to an exporter that does not exist.
    assert server.call("POST", retry).refusal == (409, "exporter_not_selected")


def test_without_failed_exports_there_is_nothing_to_send(server: RunningServer):
    job_id = server.submit()
    server.finished(job_id)
    answer = server.call("POST", f"{API}/jobs/{job_id}/exports/retry")
    assert (answer.status, answer.body) == (202, {"exports": []})
    assert server.call("POST", f"{API}/jobs/nope/exports/retry").refusal == (404, "resource_not_found")
    assert server.call("GET", f"{API}/jobs/{job_id}/exports/retry").status == 405


def test_exports_of_another_tenants_job_cannot_be_sent_again(server: RunningServer):
    answer = server.call("POST", f"{API}/jobs", job_request(), {"X-Tenant": "team-a"})
    job_id = answer.body["resource"]["id"]
    for tenant, status in (("team-b", 404), ("team-a", 202)):
        answer = server.call("POST", f"{API}/jobs/{job_id}/exports/retry", None, {"X-Tenant": tenant})
        assert answer.status == status, tenant


@pytest.mark.parametrize(
    ("coordinates", "complaint"),
    [
        ({"oci_host": "ftp://a"}, "oci_host 'ftp://a' is not a registry"),
        ({"oci_host": "a:99999"}, "oci_host 'a:99999' is not a registry"),
        ({"oci_host": "me:pw@a"}, "is not a registry"),
        ({"oci_host": "a/b"}, "is not a registry"),
        ({"oci_repository": "Team/Results"}, "oci_repository 'Team/Results' is not a repository"),
        ({"oci_repository": "../x"}, "is not a repository"),
        ({"oci_repository": "a" * 256}, "is not a repository"),
        ({"oci_tag": "no spaces"}, "oci_tag 'no spaces' is not a valid tag"),
        ({"oci_tag": "x" * 92}, "is not a valid tag"),
    ],
)
def test_invalid_oci_coordinates_are_refused_when_the_job_is_submitted(
    server: RunningServer, coordinates: dict[str, str], complaint: str
):
    valid = {"oci_host": "registry.example", "oci_repository": "team/results"}
    exports = {"oci": {"coordinates": {**valid, **coordinates}}}
    answer = server.call("POST", f"{API}/jobs", job_request(exports=exports))
    assert answer.refusal == (400, "request_validation_failed")
    assert complaint in answer.body["message"]


@pytest.mark.parametrize(
    "coordinates",
    [
        {"oci_host": "https://Registry.example:5000/"},
        {"oci_host": "[fd00::1]:5000"},
        {"oci_tag": "x" * 91},
        {"oci_repository": "a/b__c/d-e.f"},
    ],
)
def test_valid_oci_coordinates_are_accepted(coordinates: dict[str, str]):
    request = OciCoordinates(**{"oci_host": "a", "oci_repository": "r", **coordinates})
    assert coordinates_fault(request) == ""
