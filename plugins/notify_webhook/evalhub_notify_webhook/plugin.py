"""Entry point of the plugin. The HTTP client is imported when the exporter is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalhub_notify_webhook.settings import WebhookSettings
from evalhub_server.plugins import Descriptor, PluginContext, hookimpl

if TYPE_CHECKING:
    from evalhub_notify_webhook.exporter import WebhookExporter


@hookimpl
def evalhub_exporters() -> list[Descriptor[WebhookExporter, WebhookSettings]]:
    return [
        Descriptor(
            api=1,
            name="webhook",
            factory=_make,
            settings=WebhookSettings,
            help="signed messages about jobs to an HTTP endpoint",
        )
    ]


def _make(settings: WebhookSettings, context: PluginContext) -> WebhookExporter:
    from evalhub_notify_webhook.exporter import WebhookExporter  # imported only if selected

    return WebhookExporter(settings)
