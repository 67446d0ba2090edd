"""Discovery of installed plugins through entry points, and validation of their descriptors."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any, cast

import msgspec
import pluggy

from evalhub_server.errors import PluginError, StoppedBySignal
from evalhub_server.plugins import hookspecs
from evalhub_server.plugins.descriptors import (
    PLUGIN_API,
    Descriptor,
    check_descriptor,
    check_types,
    deprecation,
    incompatibility,
)
from evalhub_server.plugins.imports import watched_import
from evalhub_server.plugins.manager import DISTRIBUTION, KINDS, LOAD_PLUGINS, Offer, PluginInfo, Plugins
from evalhub_server.plugins.packs import HOOK, RESOURCE_FOLDERS, Pack, pack_directories

_NO_HOOK = "it implements no hook; mark a function such as evalhub_exporters with @hookimpl"


def load_plugins(
    points: Iterable[EntryPoint] | None = None, environ: Mapping[str, str] = os.environ
) -> Plugins:
    """Load all installed plugins. A broken one is reported in :attr:`Plugins.infos`, never by an exception."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    offers: list[Offer] = []
    packs: list[Pack] = []
    infos: list[PluginInfo] = []
    packages: dict[str, str] = {}
    found = entry_points(group=hookspecs.ENTRY_POINT_GROUP) if points is None else points
    for point in sorted(found, key=_first_party_first):
        info = info_of(point)
        if not allowed(info.name, info.distribution, environ.get(LOAD_PLUGINS)):
            info.state = "not loaded"
            info.error = f"{LOAD_PLUGINS} does not name it"
            infos.append(info)
            continue
        try:
            named, pack = _loaded(manager, point, info)
        except (KeyboardInterrupt, StoppedBySignal):
            raise
        except BaseException as error:  # noqa: BLE001  a third party's code may raise anything, SystemExit included
            info.state = "broken"
            info.error = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            infos.append(info)
            continue
        if info.distribution != DISTRIBUTION:
            packages[point.module.partition(".")[0]] = info.distribution
        offers.extend(named)
        found_infos = [offer.info for offer in named]
        if pack is not None:
            packs.append(pack)
            found_infos.append(msgspec.structs.replace(info, kind="pack", help=_shown(pack)))
        infos.extend(found_infos or [info])
    return Plugins(manager, offers, infos, packs, packages)


def _first_party_first(point: EntryPoint) -> tuple[bool, str]:
    return info_of(point).distribution != DISTRIBUTION, point.name


def info_of(point: EntryPoint) -> PluginInfo:
    """What metadata say about an entry point, which is not loaded."""
    name, version = _name_and_version(point.dist) if point.dist else ("unknown", "")
    return PluginInfo(name=point.name, kind="plugin", distribution=name, version=version, state="available")


@lru_cache(64)
def _name_and_version(dist: Distribution) -> tuple[str, str]:
    """Cached, because the entry points of a distribution share it, and each look parses all of its metadata."""
    metadata = dist.metadata
    return metadata["Name"], metadata["Version"]


def allowed(name: str, distribution: str, named: str | None) -> bool:
    """Whether the value of ``EVALHUB_LOAD_PLUGINS`` (None: unset) names an entry point or its distribution."""
    if named is None or distribution == DISTRIBUTION:
        return True
    return bool({name, distribution} & {each.strip() for each in named.split(",")})


def _loaded(
    manager: pluggy.PluginManager, point: EntryPoint, info: PluginInfo
) -> tuple[list[Offer], Pack | None]:
    """Load a plugin; return its descriptors and its pack, if it has one."""
    found: list[tuple[str, Descriptor[Any, Any]]] = []
    pack = None
    with watched_import() as imported:
        plugin = point.load()
        manager.register(plugin, name=point.name)
        try:
            manager.check_pending()  # otherwise a misspelt hook is never called
            if not manager.get_hookcallers(plugin):
                raise PluginError(_NO_HOOK)
            for kind, hook in KINDS.values():
                implementation = _implementation(manager, hook, plugin)
                if implementation is not None:
                    found += [(kind, each) for each in _descriptors(_call(implementation), hook)]
            if info.distribution != DISTRIBUTION:  # ours are tested
                for _, each in found:
                    check_types(each)
            implementation = _implementation(manager, HOOK, plugin)
            if implementation is not None:
                pack = Pack(info.name, info.distribution, pack_directories(implementation()))
        except BaseException:
            manager.unregister(plugin)
            raise
    info.warnings = imported.faults
    return [_offer(kind, each, info, imported.seconds) for kind, each in found], pack


def _shown(pack: Pack) -> str:
    """What a pack has, for the list of plugins."""
    counts = {
        kind: sum(len(list(folder.glob("*.y*ml"))) for folder in pack.folders(kind))
        for kind in RESOURCE_FOLDERS
    }
    return ", ".join(
        f"{count} {kind if count != 1 else kind[:-1]}" for kind, count in counts.items() if count
    )


def _implementation(manager: pluggy.PluginManager, hook: str, plugin: Any) -> Callable[[], Any] | None:
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    return next((impl.function for impl in caller.get_hookimpls() if impl.plugin is plugin), None)


def _call(implementation: Callable[[], Any]) -> Any:
    try:
        return implementation()
    except TypeError as error:
        if str(error) == "Missing required argument 'api'":
            raise PluginError(
                f"a Descriptor has no api; write api={PLUGIN_API}, the version of the plugin API that it is written for"
            ) from error
        raise


def _descriptors(returned: Any, hook: str) -> Sequence[Descriptor[Any, Any]]:
    if inspect.isawaitable(returned):
        raise PluginError(f"{hook}() must be a plain function, not a coroutine function")
    if not isinstance(returned, list | tuple):
        raise PluginError(f"{hook}() returned a {type(returned).__name__}, not a sequence of descriptors")
    for item in cast("Sequence[Any]", returned):
        if not isinstance(item, Descriptor):
            raise PluginError(f"{hook}() returned a {type(item).__name__} where a Descriptor belongs")
        check_descriptor(cast("Descriptor[Any, Any]", item))
    return cast("Sequence[Descriptor[Any, Any]]", returned)


def _offer(kind: str, descriptor: Descriptor[Any, Any], info: PluginInfo, import_s: float) -> Offer:
    error = incompatibility(descriptor.api)
    old = deprecation(descriptor.api)
    text = f"the {kind} '{descriptor.name}' {old}"
    own = msgspec.structs.replace(
        info,
        name=descriptor.name,
        kind=kind,
        help=descriptor.help,
        state="incompatible" if error else "available",
        error=error,
        api=str(descriptor.api),
        warnings=[*info.warnings, *([text] if old else [])],
    )
    return Offer(kind, descriptor, own, import_s)
