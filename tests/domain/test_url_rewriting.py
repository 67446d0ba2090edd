"""The sidecar's address in messages of adapters becomes the real one."""

from __future__ import annotations

from typing import Any

import pytest

from evalhub_server.domain.url_rewriting import SidecarUrls
from evalhub_server.models.common import Message
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.job import Exports, JobRequest, Model, OciCoordinates, OciExport
from evalhub_server.testing.builders import a_job

SIDECAR = "http://localhost:8080"
URLS = SidecarUrls(SIDECAR, "https://hub.test:8443", "https://mlflow.test/base/")
COORDINATES = OciCoordinates(oci_host="quay.test", oci_repository="org/repo")


def a_request(url: str = "https://me:secret@model.test/v1") -> JobRequest:
    return JobRequest(
        name="j", model=Model(url=url, name="m"), exports=Exports(oci=OciExport(coordinates=COORDINATES))
    )


def an_event(text: str, **fields: Any) -> BenchmarkEvent:
    message = Message(message=text, message_code="c")
    return BenchmarkEvent(provider_id="p", id="b", status="failed", **({"error_message": message} | fields))


def seen(text: str, request: JobRequest | None = None, urls: SidecarUrls = URLS) -> str:
    event = urls.rewrite(an_event(text), a_job(request=request or a_request(), id="job-1"))
    assert event.error_message is not None
    return event.error_message.message


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/api/v1/evaluations/jobs/1/events", "https://hub.test:8443/api/v1/evaluations/jobs/1/events"),
        (
            "/callback/t0ken/api/v1/evaluations/jobs/1/events",
            "https://hub.test:8443/api/v1/evaluations/jobs/1/events",
        ),
        ("/api/2.0/mlflow/runs/create", "https://mlflow.test/base/api/2.0/mlflow/runs/create"),
        ("/api/2.0/mlflow-artifacts?x=1", "https://mlflow.test/base/api/2.0/mlflow-artifacts?x=1"),
        ("/v2/org/repo/blobs/uploads/", "https://quay.test/v2/org/repo/blobs/uploads/"),
        ("/org/repo/manifests/1", "https://quay.test/org/repo/manifests/1"),
        ("/org/repository", "https://model.test/org/repository"),
        ("/v1/chat/completions", "https://model.test/v1/chat/completions"),
        ("/model/job-1/v1/chat/completions", "https://model.test/v1/chat/completions"),
        ("/model/job-2/v1", "https://model.test/model/job-2/v1"),
        ("/", "https://model.test/"),
        ("", "https://model.test"),
    ],
)
def test_the_path_selects_the_upstream(path: str, real: str):
    assert seen(f"Error at {SIDECAR}{path}: refused") == f"Error at {real}: refused"


def test_every_occurrence_is_replaced_and_nothing_around_it():
    text = f"'{SIDECAR}/a' ({SIDECAR}/b), <{SIDECAR}/c>"
    assert seen(text) == "'https://model.test/a' (https://model.test/b), <https://model.test/c>"


@pytest.mark.parametrize(
    "text", [f"{SIDECAR}1/a", "http://localhost/a", "https://localhost:8080/a", "https://other.test/a"]
)
def test_other_addresses_stay(text: str):
    assert seen(text) == text


def test_an_unknown_upstream_keeps_its_path():
    sidecar_alone = SidecarUrls(SIDECAR)
    assert seen(f"{SIDECAR}/v1/models", a_request(url=""), sidecar_alone) == "/v1/models"
    assert seen(f"{SIDECAR}/api/2.0/mlflow/x", urls=sidecar_alone) == "/api/2.0/mlflow/x"


def test_a_warning_is_treated_alike_and_everything_else_stays():
    warning = Message(message=f"slow: {SIDECAR}/v1", message_code="slow")
    event = an_event("plain", warning_message=warning, artifacts={"url": SIDECAR})
    real = URLS.rewrite(event, a_job(request=a_request()))
    assert real.warning_message == Message(message="slow: https://model.test/v1", message_code="slow")
    assert real.error_message is event.error_message
    assert real.artifacts == {"url": SIDECAR}


def test_an_event_without_the_address_stays_the_same_object():
    event = an_event("plain")
    assert URLS.rewrite(event, a_job()) is event
