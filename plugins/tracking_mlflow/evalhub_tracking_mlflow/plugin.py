"""Entry point of the plugin. The HTTP client is imported when the tracker is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalhub_server.plugins import Descriptor, PluginContext, hookimpl
from evalhub_tracking_mlflow.settings import MlflowSettings, check_settings, tls_context

if TYPE_CHECKING:
    from evalhub_tracking_mlflow.tracker import MlflowTracker


def make_tracker(settings: MlflowSettings, context: PluginContext) -> MlflowTracker:
    """Raises :class:`SettingsError` for an unusable URL or certificate file."""
    from evalhub_tracking_mlflow.tracker import MlflowTracker  # imports aiohttp

    check_settings(settings)
    return MlflowTracker(settings, tls_context(settings))


@hookimpl
def evalhub_trackers() -> list[Descriptor[MlflowTracker, MlflowSettings]]:
    return [
        Descriptor(
            api=1,
            name="mlflow",
            factory=make_tracker,
            settings=MlflowSettings,
            help="experiments and runs in an MLflow server",
        )
    ]
