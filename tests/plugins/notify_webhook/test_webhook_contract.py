"""The contract of an exporter, over messages to a real endpoint."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from evalhub_common.backoff import Backoff
from evalhub_notify_webhook import exporter as webhook_exporter
from evalhub_notify_webhook.events import EVENTS
from evalhub_notify_webhook.exporter import WebhookExporter
from evalhub_notify_webhook.settings import WebhookSettings
from evalhub_server.plugins import Exporter, JobRecord
from evalhub_server.testing import ExporterContract
from harness.answering import AnsweringServer, Reply, Request

KEY = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATH_SECRET = "path-that-only-the-endpoint-knows"


class Endpoint(AnsweringServer):
    """Keeps the messages that it accepts, by their id: a receiver recognizes repeated ones."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.messages: dict[str, dict[str, Any]] = {}
        self._status = 204

    @contextmanager
    def answering(self, status: int) -> Generator[None]:
        self._status = status
        yield
        self._status = 204

    def _reply(self, request: Request) -> Reply:
        if self._status == 204:
            self.messages[request.headers["webhook-id"]] = request.document
        return Reply(self._status)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


class TestWebhookExporter(ExporterContract):
    on_request = False
    at_end_only = False
    secrets = (KEY, PATH_SECRET)

    @pytest.fixture(autouse=True)
    def target(self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(webhook_exporter, "RETRY", Backoff(first_s=0.01, max_s=0.01))
        self.endpoint = endpoint

    def make_exporter(self, directory: Path) -> Exporter:
        url = f"{self.endpoint.url}/{PATH_SECRET}"
        return WebhookExporter(
            WebhookSettings(url=url, secret=f"whsec_{KEY}", allow_private_addresses=True, events=EVENTS)
        )

    async def exported(self, job: JobRecord) -> Mapping[str, object]:
        return {key: each for key, each in self.endpoint.messages.items() if each["data"]["id"] == job.id}

    def unavailable(self) -> AbstractContextManager[object]:
        return self.endpoint.answering(503)

    def refusing(self) -> AbstractContextManager[object]:
        return self.endpoint.answering(410)
