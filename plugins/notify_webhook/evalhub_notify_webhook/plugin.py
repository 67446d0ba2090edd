"""Entry point of the plugin. The HTTP client is imported when the exporter is created."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from evalhub_notify_webhook.settings import WebhookSettings
from evalhub_server.plugins import Descriptor, JobChanged, JobRecord, PluginContext, hookimpl

if TYPE_CHECKING:
    from evalhub_notify_webhook.exporter import WebhookExporter


class WebhookPlugin:
    """The exporter sends messages of outbox entries; a deleted job has none, so the plugin also observes deletions."""

    def __init__(self) -> None:
        self._exporters: list[WebhookExporter] = []

    @hookimpl
    def evalhub_exporters(self) -> list[Descriptor[WebhookExporter, WebhookSettings]]:
        return [
            Descriptor(
                api=1,
                name="webhook",
                factory=self._make,
                settings=WebhookSettings,
                help="signed messages about jobs to an HTTP endpoint",
            )
        ]

    @hookimpl
    def evalhub_job_changed(self, change: JobChanged) -> Awaitable[None] | None:
        # The core creates a task for each coroutine, and most changes are not deletions.
        if change.after is not None or change.before is None:
            return None
        return self._deleted(change.before)

    async def _deleted(self, job: JobRecord) -> None:
        for exporter in self._exporters:
            await exporter.deleted(job)

    def _make(self, settings: WebhookSettings, context: PluginContext) -> WebhookExporter:
        from evalhub_notify_webhook.exporter import WebhookExporter  # imported only if selected

        return WebhookExporter(settings, in_service=self._exporters)


plugin = WebhookPlugin()
