"""What the core imports to learn about this plugin; the HTTP client is imported when the exporter is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalhub_notify_webhook.settings import WebhookSettings
from evalhub_server.plugins import Descriptor, JobChanged, PluginContext, hookimpl

if TYPE_CHECKING:
    from evalhub_notify_webhook.exporter import WebhookExporter


class WebhookPlugin:
    """The exporter sends what jobs owe. What becomes of a deleted job it can only hear of as an observer."""

    def __init__(self) -> None:
        self._exporters: list[WebhookExporter] = []

    @hookimpl
    def evalhub_exporters(self) -> list[Descriptor]:
        return [
            Descriptor(
                name="webhook",
                factory=self._make,
                settings=WebhookSettings,
                help="signed messages to an HTTP endpoint about what becomes of jobs",
            )
        ]

    @hookimpl
    async def evalhub_job_changed(self, change: JobChanged) -> None:
        if change.after is None and change.before is not None:
            for exporter in self._exporters:
                await exporter.deleted(change.before)

    def _make(self, settings: WebhookSettings, context: PluginContext) -> WebhookExporter:
        from evalhub_notify_webhook.exporter import WebhookExporter  # only when selected

        return WebhookExporter(settings, in_service=self._exporters)


plugin = WebhookPlugin()
