"""Entry point of the plugin. The HTTP client is imported with the first export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalhub_exporter_oci.settings import OciSettings
from evalhub_server.plugins import Descriptor, PluginContext, hookimpl

if TYPE_CHECKING:
    from evalhub_exporter_oci.exporter import OciExporter


def make_exporter(settings: OciSettings, context: PluginContext) -> OciExporter:
    """Raises :class:`SettingsError` for a bad value."""
    from evalhub_exporter_oci.exporter import OciExporter  # imported only if selected
    from evalhub_exporter_oci.settings import complete

    return OciExporter(complete(settings, context), context)


@hookimpl
def evalhub_exporters() -> list[Descriptor[OciExporter, OciSettings]]:
    return [
        Descriptor(
            api=1,
            name="oci",
            factory=make_exporter,
            settings=OciSettings,
            help="evaluation cards as artifacts of an OCI registry",
        )
    ]
