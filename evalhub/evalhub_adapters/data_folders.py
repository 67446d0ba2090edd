"""Data sets in folders of the working directory, whose prepared copies the framework's package datasets keeps in its cache.

Imports the framework.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

from datasets import load

_FACTORIES = ("LocalDatasetModuleFactory", "LocalDatasetModuleFactoryWithoutScript")
"""The class that reads folders: its name, and the one before version 4 of the package."""


def distinguish_folders() -> None:
    """Make the names of prepared copies depend on the content of their folders.

    The package names them after the folder and the patterns of its files only: without this, a job would read the data of
    another directory, or what a file had before it was edited.
    """
    for name in _FACTORIES:
        factory: type[load.LocalDatasetModuleFactory] | None = getattr(load, name, None)
        if factory is not None:
            _add_content(factory)


def _add_content(factory: type[load.LocalDatasetModuleFactory]) -> None:
    original = factory.get_module

    def get_module(self: load.LocalDatasetModuleFactory) -> load.DatasetModule:
        module = original(self)
        text = f"{module.hash} {folder_digest(str(Path(self.path).resolve()))}"
        return replace(module, hash=hashlib.sha256(text.encode()).hexdigest()[:16])

    factory.get_module = get_module


@cache
def folder_digest(folder: str) -> str:
    """A digest of the names and contents of all files below an absolute path."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name!r} {content}\n".encode())
    return digest.hexdigest()
