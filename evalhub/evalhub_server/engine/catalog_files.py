"""Provider and collection files: reading, validation and findings."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec

from evalhub_server.domain.provider_normalization import normalize_runtime, normalize_runtime_keys
from evalhub_server.domain.validation import Failure, convert, failed_rules, field_error
from evalhub_server.engine.catalog_cache import CatalogCache, stamp_of
from evalhub_server.errors import SettingsError
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.plugins.packs import Pack
from evalhub_server.plugins.sections import convert_section, nearest, unknown_keys
from evalhub_server.settings import (
    Finding,
    YamlFile,
    key_of,
    nearest_above,
    parse_yaml,
    without_garbage_collection,
)

T = TypeVar("T", bound=msgspec.Struct)

_NO_CACHE = CatalogCache(None)
_RUNTIME_KEYS = {
    "local": ("command", "env", "cwd", "environment", "venv"),
    "k8s": (
        *("image", "image_pull_policy", "entrypoint", "env", "gpu"),
        *("cpu_request", "memory_request", "cpu_limit", "memory_limit"),
    ),
}
"""Known keys of a provider's ``runtime``; those of other runtimes belong to their plugins."""


class Loaded(Generic[T]):
    """A valid file with its resource."""

    def __init__(self, file: Path, resource_id: str, config: T) -> None:
        self.file = file
        self.id = resource_id
        self.config = config


def files_in(folder: Path) -> list[Path] | None:
    """The ``*.yaml`` and ``*.yml`` files of a folder by name; None if the folder does not exist.

    Raises :class:`SettingsError` if it exists and cannot be read: its files are unknown then, not gone.
    """
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.name.lower().endswith((".yaml", ".yml")) and entry.is_file()
            ]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", str(folder)) from None
    return [folder / name for name in sorted(names)]


def read_folder(
    folder: Path, type_: type[T], cache: CatalogCache = _NO_CACHE
) -> tuple[list[Loaded[T]], list[Finding]]:
    """Read all files of a folder by name. Of files with the same id, the first is loaded. Raises like :func:`files_in`."""
    files = files_in(folder)
    if files is None:
        return [], [Finding("warning", str(folder), 0, "No config files found")]
    loaded: dict[str, Loaded[T]] = {}
    findings: list[Finding] = []
    with without_garbage_collection():
        for file in files:
            findings += _read_file(file, type_, loaded, cache)
    return list(loaded.values()), findings


def _read_file(
    file: Path, type_: type[T], loaded: dict[str, Loaded[T]], cache: CatalogCache
) -> list[Finding]:
    """Add the resource of a file to ``loaded`` unless it is invalid or its id is there already; return the findings."""
    known = cache.get(file, type_)
    if known is not None:
        resource, warnings = Loaded(file, known[0].id, known[1]), known[0].warnings
    else:
        stamp = stamp_of(file)
        try:
            parsed = parse_yaml(file)
        except SettingsError as error:
            return [Finding("error", error.source, error.line, error.message)]
        try:
            resource = _read(parsed, type_)
        except _InvalidFile as invalid:
            return [Finding("error", str(file), parsed.line(key_of(m)), m) for m in invalid.messages]
        warnings = tuple(_unknown_keys(parsed, type_))
        cache.put(file, stamp, resource.id, resource.config, warnings)
    findings = [Finding("warning", str(file), line, message) for line, message in warnings]
    first = loaded.setdefault(resource.id, resource)
    if first is not resource:
        text = f"id: '{resource.id}' is already used in {first.file.name}; choose another id"
        findings.append(Finding("error", str(file), parse_yaml(file).line("id"), text))
    return findings


def read_folders(
    folders: Sequence[Path], type_: type[T], cache: CatalogCache = _NO_CACHE
) -> tuple[list[Loaded[T]], list[Finding]]:
    """Read several folders as :func:`read_folder` does; of the same id in two folders, the first is loaded."""
    loaded: dict[str, Loaded[T]] = {}
    findings: list[Finding] = []
    for folder in folders:
        of_folder, of_files = read_folder(folder, type_, cache)
        loaded = {resource.id: resource for resource in of_folder} | loaded
        findings += of_files
    return list(loaded.values()), findings


def pack_conflicts(packs: Sequence[Pack]) -> list[Finding]:
    """An error for each provider and each collection that a pack has in common with one before it."""
    findings: list[Finding] = []
    if len(packs) < 2:
        return findings
    owners: dict[tuple[str, str], Pack] = {}
    for pack in packs:
        files: list[tuple[str, Loaded[ProviderConfig] | Loaded[CollectionConfig]]] = [
            *(("provider", each) for each in read_folders(pack.folders("providers"), ProviderConfig)[0]),
            *(
                ("collection", each)
                for each in read_folders(pack.folders("collections"), CollectionConfig)[0]
            ),
        ]
        for kind, file in files:
            other = owners.setdefault((kind, file.id), pack)
            if other is not pack:
                text = (
                    f"the packs '{other.name}' ({other.distribution}) and '{pack.name}' ({pack.distribution}) both have a "
                    f"{kind} '{file.id}'. Uninstall one of them, or name the packs to serve in catalog.packs."
                )
                findings.append(Finding("error", str(file.file), 0, text))
    return findings


def with_providers(
    collections: Sequence[Loaded[CollectionConfig]], provider_ids: Container[str], folder: Path
) -> list[Loaded[CollectionConfig]]:
    """The collections without those of ``folder``, the bundled ones, that have a benchmark of another provider."""
    return [
        one
        for one in collections
        if one.file.parent != folder
        or all(benchmark.provider_id in provider_ids for benchmark in one.config.benchmarks)
    ]


class _InvalidFile(Exception):
    """A file that cannot be loaded; each message begins with the key path."""

    def __init__(self, *messages: str) -> None:
        super().__init__(*messages)
        self.messages = messages


def _read(parsed: YamlFile, type_: type[T]) -> Loaded[T]:
    raw: Any = parsed.value
    if not isinstance(raw, dict):
        raise _InvalidFile("expected a mapping with an id")
    document = cast("dict[str, Any]", raw)
    resource_id = document.get("id")
    if not isinstance(resource_id, str) or not 1 <= len(resource_id) <= 36:
        raise _InvalidFile("id: a string of 1 to 36 characters is required")
    if type_ is ProviderConfig and isinstance(document.get("runtime"), dict):
        document = {**document, "runtime": normalize_runtime(document["runtime"])}
    try:
        config = convert(document, type_)
    except msgspec.ValidationError:
        # Slower, and as lenient as for the configuration: a threshold may be "0.5".
        try:
            config = convert_section(document, type_, "", strict=False)
        except SettingsError as error:
            raise _InvalidFile(error.message) from None
    failures = failed_rules(config, type_.__name__)
    # Contract: provider files may lack a name; the id is used instead.
    failures = [f for f in failures if (type_, f.path) != (ProviderConfig, "ProviderConfig.name")]
    if failures:
        raise _InvalidFile(*(_message(failure) for failure in failures))
    return Loaded(parsed.file, resource_id, config)


def _message(failure: Failure) -> str:
    error = field_error(failure)
    return f"{error.path}: {error.message}"


def _unknown_keys(parsed: YamlFile, type_: type[msgspec.Struct]) -> Iterator[tuple[int, str]]:
    """Yield (line, message) for each key that has no meaning."""
    document = {key: value for key, value in parsed.value.items() if key != "id"}
    found = list(unknown_keys(document, type_, ""))
    runtime = document.get("runtime") if type_ is ProviderConfig else None
    if isinstance(runtime, dict):
        for name, entry in normalize_runtime_keys(cast("dict[str, Any]", runtime)).items():
            known = _RUNTIME_KEYS.get(name)
            if known and isinstance(entry, dict):
                keys = [str(key) for key in cast("dict[Any, Any]", entry)]
                found += [(f"runtime.{name}.{key}", nearest(key, known)) for key in keys if key not in known]
    lines = parsed.lines() if found else {}
    for path, hint in found:
        line = nearest_above(lines, path) or 0
        yield line, f"{path}: unknown key{hint}, ignored"
