"""Jobs request exports of third-party exporters by their names, over a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer, wait_until
from harness.server import API, job_request
from harness.site import Site

SHELF = """
import json
from pathlib import Path

from msgspec import Struct

from evalhub_server.plugins import Descriptor, Exporter, ExportOutcome, export_request, hookimpl


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
