"""The installed plugins, and creation of the selected ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import pluggy

from evalhub_server.errors import EvalHubError, PluginError
from evalhub_server.plugins.calls import guarded
from evalhub_server.plugins.deprecations import adapt_renamed_methods
from evalhub_server.plugins.descriptors import Descriptor, PluginContext, incompatibility
from evalhub_server.plugins.export import Exporter
from evalhub_server.plugins.observation import Observer
from evalhub_server.plugins.packs import Pack
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.plugins.sections import convert_section, find_section
from evalhub_server.plugins.storage import Storage
from evalhub_server.plugins.tracking import Tracker

T = TypeVar("T")

DISTRIBUTION = "eval-hub-server"
LOAD_PLUGINS = "EVALHUB_LOAD_PLUGINS"
"""Environment variable with the third-party plugins to load, by entry point or distribution; unset loads all."""

KINDS: Mapping[type[Any], tuple[str, str]] = {
    Runtime: ("runtime", "evalhub_runtimes"),
    Storage: ("storage", "evalhub_storages"),
    Tracker: ("tracker", "evalhub_trackers"),
    Exporter: ("exporter", "evalhub_exporters"),
    Observer: ("observer", "evalhub_observers"),
}
"""Abstract class → (kind, hook that returns its descriptors)."""


class PluginInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of ``eval-hub-server plugins``. ``state``: available, incompatible, broken, not loaded.

    ``api`` is the version of the plugin API that it is written for; empty if it could not be loaded. ``warnings``: what its
    author should change, such as an import that is slow or prints; they do not prevent its use.
    """

    name: str
    kind: str
    distribution: str
    version: str
    state: str
    help: str = ""
    error: str = ""
    api: str = ""
    warnings: list[str] = []


class PluginWarning(NamedTuple):
    """A phrase about the plugins of a distribution ("it printed …")."""

    distribution: str
    text: str


class Offer(msgspec.Struct, frozen=True):
    """A descriptor and its origin. ``import_s``: the time that importing its entry point took, with what it imported first."""

    kind: str
    descriptor: Descriptor[Any, Any]
    info: PluginInfo
    import_s: float = 0.0


class Plugins:
    """The installed plugins, as :func:`~evalhub_server.plugins.discovery.load_plugins` found them."""

    def __init__(
        self,
        manager: pluggy.PluginManager,
        offers: Sequence[Offer],
        infos: Sequence[PluginInfo],
        packs: Sequence[Pack] = (),
        packages: Mapping[str, str] | None = None,
    ) -> None:
        self.manager = manager
        self.infos = list(infos)
        self._offers = list(offers)
        self._packages = dict(packages or {})
        self._packs = {pack.name: pack for pack in packs}

    def create(self, kind: type[T], name: str, sections: Mapping[str, Any], context: PluginContext) -> T:
        """Create the implementation ``name`` of ``kind`` (one of :data:`KINDS`) from the parsed configuration.

        Raises:
            PluginError: no plugin or several plugins provide the name, the plugin is written for another plugin API, or
                its factory fails.
            SettingsError: the plugin's section is wrong.
        """
        kind_name = KINDS[kind][0]
        offer = self._select(kind_name, name)
        descriptor = offer.descriptor
        section = descriptor.settings_section
        settings = convert_section(find_section(sections, section), descriptor.settings, section)
        try:
            instance = descriptor.factory(settings, context)
        except EvalHubError:
            raise
        except ImportError as error:
            raise PluginError(
                f"{kind_name} '{name}' of {offer.info.distribution} cannot be imported: {error}. "
                f"Install what it needs, for example: pip install '{offer.info.distribution}[{name}]'"
            ) from error
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{kind_name} '{name}' of {offer.info.distribution} failed to start: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(instance, kind):
            raise PluginError(
                f"{kind_name} '{name}' of {offer.info.distribution}: its factory returned a {type(instance).__name__}, "
                f"not a {kind.__name__}. Report this to its author."
            )
        named: object = getattr(instance, "name", name)
        if named != name:
            raise PluginError(
                f"{kind_name} '{name}' of {offer.info.distribution} has the attribute name {named!r}; it must be the "
                f"name of its descriptor. Report this to its author."
            )
        offer.info.warnings += [
            f"its {kind_name} '{name}' uses what will be removed: {text}"
            for text in adapt_renamed_methods(kind_name, instance)
        ]
        return guarded(instance, kind, kind_name, name, offer.info.distribution)

    def _select(self, kind: str, name: str) -> Offer:
        named = [offer for offer in self._offers if offer.kind == kind and offer.descriptor.name == name]
        if not named:
            known = sorted(offer.descriptor.name for offer in self._offers if offer.kind == kind)
            text = (
                f"{kind} '{name}' is selected but no installed plugin provides it. "
                f"Installed {kind}s: {', '.join(known) or 'none'}. "
                f"pip install a distribution that has it ({DISTRIBUTION} brings its own as extras: "
                f"k8s, mlflow, postgres), or select another one under plugins: in config.yaml."
            )
            failed = [f"{info.name} ({info.distribution}): {info.error}" for info in self.infos if info.error]
            raise PluginError(
                text + (" Plugins that could not be loaded: " + "; ".join(failed) if failed else "")
            )
        if len(named) > 1:
            raise PluginError(
                f"two plugins provide the {kind} '{name}': {named[0].info.distribution} and "
                f"{named[1].info.distribution}. Uninstall one, or name what to load in {LOAD_PLUGINS}."
            )
        offer = named[0]
        if error := incompatibility(offer.descriptor.api):
            raise PluginError(
                f"{kind} '{name}' of {offer.info.distribution} {offer.info.version} {error}. "
                f"Upgrade one of the two with pip."
            )
        return offer

    def offers(self, name: str) -> list[Offer]:
        """Return the descriptors with this name, of all kinds."""
        return [offer for offer in self._offers if offer.descriptor.name == name]

    def sections(self) -> dict[str, list[type[msgspec.Struct]]]:
        """Return the settings types of all plugins by the section that they are read from."""
        found: dict[str, list[type[msgspec.Struct]]] = {}
        for offer in self._offers:
            found.setdefault(offer.descriptor.settings_section, []).append(offer.descriptor.settings)
        return found

    def names(self, kind: type[Any]) -> frozenset[str]:
        """Return the names of all installed plugins of a kind (one of :data:`KINDS`), selected or not."""
        return frozenset(offer.descriptor.name for offer in self._offers if offer.kind == KINDS[kind][0])

    def export_requests(self, exporters: Iterable[str]) -> dict[str, type[msgspec.Struct]]:
        """Return the request types of the exporters that declare one, by name."""
        descriptors = [self._select(KINDS[Exporter][0], name).descriptor for name in exporters]
        return {each.name: each.request for each in descriptors if each.request is not None}

    def packs(self, selected: Sequence[str] | None) -> list[Pack]:
        """Return the provider packs with these names (None: all), by name.

        Raises:
            PluginError: no installed plugin has one of the names.
        """
        if selected is None:
            return [self._packs[name] for name in sorted(self._packs)]
        for name in selected:
            if name not in self._packs:
                raise PluginError(
                    f"pack '{name}' is selected in catalog.packs but no installed plugin provides it. "
                    f"Installed packs: {', '.join(sorted(self._packs)) or 'none'}. "
                    "pip install the distribution that has it, or remove it from catalog.packs."
                )
        return [self._packs[name] for name in sorted(set(selected))]

    @property
    def warnings(self) -> list[PluginWarning]:
        """What authors of installed plugins should change, each once."""
        found = [PluginWarning(info.distribution, text) for info in self.infos for text in info.warnings]
        return list(dict.fromkeys(found))

    @property
    def packages(self) -> Mapping[str, str]:
        """The top-level package of each third-party plugin, with its distribution."""
        return self._packages

    @property
    def broken(self) -> list[PluginInfo]:
        """The plugins that could not be loaded."""
        return [info for info in self.infos if info.state == "broken"]
