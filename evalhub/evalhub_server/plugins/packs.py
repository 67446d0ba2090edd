"""Provider packs: distributions that bring provider and collection files."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from msgspec import Struct

from evalhub_server.errors import PluginError

ResourceFolder = Literal["providers", "collections"]
RESOURCE_FOLDERS: tuple[ResourceFolder, ...] = ("providers", "collections")
HOOK = "evalhub_catalog"


class Pack(Struct, frozen=True):
    """The directories of one plugin, named by its entry point. Each has ``providers/``, ``collections/`` or both."""

    name: str
    distribution: str
    directories: tuple[Path, ...]

    def folders(self, kind: ResourceFolder) -> list[Path]:
        """The existing folders of provider or collection files."""
        return [folder for each in self.directories if (folder := each / kind).is_dir()]


def pack_folders(packs: Iterable[Pack], kind: ResourceFolder) -> list[Path]:
    """The folders of provider or collection files of several packs."""
    return [folder for pack in packs for folder in pack.folders(kind)]


def pack_directories(returned: object) -> tuple[Path, ...]:
    """Check what :func:`evalhub_catalog` returned. Raises :class:`PluginError`."""
    if inspect.isawaitable(returned):
        raise PluginError(f"{HOOK}() must be a plain function, not a coroutine function")
    if not isinstance(returned, list | tuple):
        raise PluginError(f"{HOOK}() returned a {type(returned).__name__}, not a sequence of paths")
    directories: list[Path] = []
    for each in cast("Sequence[Any]", returned):
        if not isinstance(each, Path):
            raise PluginError(f"{HOOK}() returned a {type(each).__name__} where a pathlib.Path belongs")
        if not each.is_absolute():
            raise PluginError(f"{HOOK}() returned the relative path {each}; begin with Path(__file__).parent")
        if not any((each / kind).is_dir() for kind in RESOURCE_FOLDERS):
            raise PluginError(f"{HOOK}() returned {each}, which has no folder providers or collections")
        directories.append(each)
    if not directories:
        raise PluginError(f"{HOOK}() returned no directory")
    return tuple(directories)
