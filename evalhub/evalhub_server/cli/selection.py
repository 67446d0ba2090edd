"""Names of the plugins that the configuration selects, and their construction."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from evalhub_server.errors import SettingsError, StartupError
from evalhub_server.plugins.descriptors import PluginContext
from evalhub_server.plugins.manager import LOAD_PLUGINS, PluginInfo, Plugins
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.plugins.sections import find_section
from evalhub_server.settings import Finding, Settings, variable_location

T = TypeVar("T")


def storage_name(settings: Settings) -> str:
    """``plugins.storage``; default: the storage for ``database.driver``."""
    if settings.plugins.storage:
        return settings.plugins.storage
    driver = _section(settings, "database").get("driver")
    return {"": "sqlite", "pgx": "postgres"}.get(str(driver or ""), str(driver))


def runtime_name(settings: Settings) -> str:
    """``plugins.runtime``; default: ``local`` with ``--local``, else ``kubernetes``."""
    return settings.plugins.runtime or ("local" if settings.local else "kubernetes")


def tracker_names(settings: Settings) -> tuple[str, ...]:
    """``plugins.trackers``; default: ``mlflow`` if ``mlflow.tracking_uri`` is set and :func:`selection_warnings` is empty."""
    if settings.plugins.trackers is not None:
        return settings.plugins.trackers
    return ("mlflow",) if _tracking_uri(settings) and not selection_warnings(settings) else ()


def exporter_names(settings: Settings) -> tuple[str, ...]:
    """``plugins.exporters``; default: ``oci``, and ``webhook`` if ``webhook.url`` is set."""
    if settings.plugins.exporters is not None:
        return settings.plugins.exporters
    return ("oci", "webhook") if _section(settings, "webhook").get("url") else ("oci",)


def observer_names(settings: Settings, plugins: Plugins) -> tuple[str, ...]:
    """``plugins.observers``; default: all that are installed and written for this server's plugin API, by name."""
    if settings.plugins.observers is not None:
        return settings.plugins.observers
    available = (info for info in plugins.infos if (info.kind, info.state) == ("observer", "available"))
    return tuple(sorted({info.name for info in available}))


def selection_warnings(settings: Settings) -> list[Finding]:
    """A warning if ``MLFLOW_TRACKING_URI`` cannot be used.

    MLflow's own tools read this variable, too: it may name a directory or a database for other programs of the same
    shell, which must not prevent a start. The same value in a configuration file is an error.
    """
    location = variable_location("MLFLOW_TRACKING_URI")
    uri = _tracking_uri(settings)
    if (
        settings.plugins.trackers is not None
        or settings.locations.get("mlflow.tracking_uri") != location
        or uri.lower().startswith(("http://", "https://"))
    ):
        return []
    text = (
        f"mlflow.tracking_uri: {uri!r} is not the http or https URL of an MLflow server, so jobs with an "
        "experiment are refused. Start one with: mlflow server"
    )
    return [Finding("warning", location.source, 0, settings.secrets.redact(text))]


def _tracking_uri(settings: Settings) -> str:
    return str(_section(settings, "mlflow").get("tracking_uri") or "")


def _section(settings: Settings, name: str) -> dict[str, Any]:
    """A section with its keys in lower case; empty if it does not exist."""
    section: Any = find_section(settings.sections, name)
    items = cast("dict[Any, Any]", section).items() if isinstance(section, dict) else ()
    return {str(key).lower(): value for key, value in items}


def make_selected(
    plugins: Plugins, settings: Settings, kind: type[T], name: str, context: PluginContext
) -> T:
    """Build a plugin. Errors name the file and line of the wrong value, and ``--local`` if the runtime is missing."""
    try:
        return plugins.create(kind, name, settings.sections, context)
    except SettingsError as error:
        raise settings.error(error) from None
    except StartupError as error:
        if kind is Runtime:
            raise suggest_local(settings, error) from error
        raise


def broken_plugin(info: PluginInfo) -> str:
    """The warning about a plugin that could not be loaded."""
    return (
        f"the plugin '{info.name}' could not be loaded: {info.error}. Repair or uninstall {info.distribution}, or name the "
        f"plugins to load in {LOAD_PLUGINS}"
    )


def suggest_local(settings: Settings, error: StartupError) -> StartupError:
    """``error`` of the runtime, preceded by the most likely fix if the server was started without ``--local``."""
    if settings.local or isinstance(error, SettingsError):
        return error
    return StartupError(
        "add --local to run evaluations as processes on this computer. Without it, the server needs a runtime for "
        f"clusters: {error}"
    )
