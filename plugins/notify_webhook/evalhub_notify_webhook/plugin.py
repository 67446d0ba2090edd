"""What the core imports to learn about this plugin; the HTTP client is imported when the exporter is made."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from evalhub_notify_webhook.settings import WebhookSettings
from evalhub_server.plugins import Descriptor, JobChanged, JobRecord, PluginContext, hookimpl

if TYPE_CHECKING:
    from evalhub_notify_webhook.exporter import WebhookExporter


class WebhookPlugin:
    """The exporter sends what jobs owe. What becomes of a deleted job it can only hear of as an observer."""

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
                help="signed messages to an HTTP endpoint about what becomes of jobs",
            )
        ]

    @hookimpl
    def evalhub_job_changed(self, change: JobChanged) -> Awaitable[None] | None:
        # A coroutine is a task for the core, and nearly all changes are none of this plugin's business.
        if change.after is not None or change.before is None:
            return None
        return self._deleted(change.before)

    async def _deleted(self, job: JobRecord) -> None:
        for exporter in self._exporters:
            await exporter.deleted(job)

    def _make(self, settings: WebhookSettings, context: PluginContext) -> WebhookExporter:
        from evalhub_notify_webhook.exporter import WebhookExporter  # only when selected

        return WebhookExporter(settings, in_service=self._exporters)


plugin = WebhookPlugin()
