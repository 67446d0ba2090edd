"""Provider and collection files: what is in them, and what is wrong with those that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec

from evalhub_server.domain.provider_normalization import normalize_runtime
from evalhub_server.domain.validation import Failure, convert, describe, failed_rules
from evalhub_server.errors import SettingsError
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.plugins.sections import readable
from evalhub_server.settings import Finding, YamlFile, key_of, parse_yaml

T = TypeVar("T", bound=msgspec.Struct)

_DEMANDS = {
    "required": "is required; add it",
    "max": "is too long; at most {limit} are allowed",
    "min": "is too small; write {limit} or more",
    "tagname": "is no tag; write 1 to 128 characters without ',' and '|'",
}
"""What to do about a rule that is not kept; the contract's own texts are for clients."""


class Loaded(Generic[T]):
    """One good file."""

    def __init__(self, file: Path, resource_id: str, config: T) -> None:
        self.file = file
        self.id = resource_id
        self.config = config


def files_in(folder: Path) -> list[Path]:
    """The files that count, by name; none if there is no such folder."""
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    return [file for file in found if file.suffix.lower() in (".yaml", ".yml") and file.is_file()]


def read_folder(folder: Path, type_: type[T]) -> tuple[list[Loaded[T]], list[Finding]]:
    """Read every ``*.yaml`` and ``*.yml`` of a folder, by name. An id belongs to the first file that has it."""
    if not folder.is_dir():
        return [], [Finding("warning", str(folder), 0, "No config files found")]
    loaded: dict[str, Loaded[T]] = {}
    findings: list[Finding] = []
    for file in files_in(folder):
        try:
            parsed = parse_yaml(file)
        except SettingsError as error:
            findings.append(Finding("error", error.source, error.line, error.message))
            continue
        try:
            one = _read(parsed, type_)
        except _Wrong as wrong:
            findings += [Finding("error", str(file), parsed.line(key_of(m)), m) for m in wrong.messages]
            continue
        first = loaded.setdefault(one.id, one)
        if first is not one:
            text = f"id: '{one.id}' is taken by another file, {first.file.name}; choose another id"
            findings.append(Finding("error", str(file), parsed.line("id"), text))
    return list(loaded.values()), findings


class _Wrong(Exception):
    """Messages that begin with the key path."""

    def __init__(self, *messages: str) -> None:
        super().__init__(*messages)
        self.messages = messages


def _read(parsed: YamlFile, type_: type[T]) -> Loaded[T]:
    raw: Any = parsed.value
    if not isinstance(raw, dict):
        raise _Wrong("expected a map with an id, found nothing of the kind")
    document = cast("dict[str, Any]", raw)
    resource_id = document.get("id")
    if not isinstance(resource_id, str) or not 1 <= len(resource_id) <= 36:
        raise _Wrong("id: a text of 1 to 36 characters is required")
    if type_ is ProviderConfig and isinstance(document.get("runtime"), dict):
        document = {**document, "runtime": normalize_runtime(document["runtime"])}
    try:
        config = convert(document, type_)
    except msgspec.ValidationError as error:
        raise _Wrong(readable(str(error), "")) from None
    failures = list(failed_rules(config, type_.__name__))
    # The contract lets provider files go without a name; their id serves.
    failures = [f for f in failures if (type_, f.path) != (ProviderConfig, "ProviderConfig.name")]
    if failures:
        raise _Wrong(*(_message(failure) for failure in failures))
    return Loaded(parsed.file, resource_id, config)


def _message(failure: Failure) -> str:
    path = failure.path.partition(".")[2].replace("Ref.id", "id")
    demand = _DEMANDS.get(failure.rule.name)
    return f"{path}: {demand.format(limit=failure.rule.limit) if demand else describe([failure])}"
