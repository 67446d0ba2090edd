"""What requests and files say about a provider or a collection, decoded and checked."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import UNSET
from msgspec.structs import fields, replace

from evalhub_server.domain import problems
from evalhub_server.domain.provider_normalization import spelled_runtime
from evalhub_server.domain.struct_fields import normalised
from evalhub_server.domain.validation import (
    Failure,
    convert,
    decode,
    describe,
    failed_rules,
    parse,
    validate,
)
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.common import Json
from evalhub_server.models.provider import ProviderBenchmark, ProviderConfig
from evalhub_server.models.rules import REQUIRED, minimum
from evalhub_server.models.runtime import KnownRuntimes

PROVIDER = "ProviderConfig"
COLLECTION = "CollectionConfig"
"""The released server's names, which head the paths in its texts."""

_OPTIONAL = tuple(field.name for field in fields(ProviderBenchmark) if field.default is UNSET)


def read_provider(body: bytes) -> ProviderConfig:
    """The body of a provider's POST or PUT. What the server manages (``resource``) is ignored.

    Raises ``invalid_json_request`` for malformed JSON and wrong types, then ``request_validation_failed``.
    """
    raw = parse(body)
    try:
        config = provider_config({} if raw is None else raw)
    except msgspec.ValidationError as error:
        raise problems.invalid_json(str(error)) from None
    validate(config, PROVIDER)
    return config


def read_collection(body: bytes) -> CollectionConfig:
    """The body of a collection's POST or PUT. What the server manages (``resource``, ``derived_from``, ``status``,
    ``pinned_order``, the benchmarks' ``url``) is ignored; its members need not exist.

    Raises ``invalid_json_request`` for malformed JSON and wrong types, then ``request_validation_failed``.
    """
    config = decode(body, CollectionConfig)
    if failures := list(failed_rules(config, COLLECTION)):
        raise problems.validation_failed(describe(_with_an_empty_list_too_short(failures, body)))
    return config


def _with_an_empty_list_too_short(failures: list[Failure], body: bytes) -> list[Failure]:
    """The contract tells an empty list of benchmarks from none; the model of a collection does not."""
    given = cast("Json", normalised(parse(body), CollectionConfig) or {})
    if given.get("benchmarks") != []:
        return failures
    missing, too_short = Failure(f"{COLLECTION}.benchmarks", REQUIRED), minimum(1)
    return [failure._replace(rule=too_short) if failure == missing else failure for failure in failures]


def provider_config(raw: Any) -> ProviderConfig:
    """Shape a parsed document, its runtimes too; not validated yet. Raises :class:`msgspec.ValidationError`."""
    config = convert(_with_spelled_runtimes(raw), ProviderConfig)
    return replace(
        config,
        benchmarks=tuple(_without_empty(benchmark) for benchmark in config.benchmarks),
        runtime=_typed(config.runtime),
    )


def _with_spelled_runtimes(raw: Any) -> Any:
    """The document with its ``runtime``, in whatever case, spelled in one way; empty entries are dropped."""
    if not isinstance(raw, dict):
        return raw
    document = cast("Json", raw)
    runtime = next((value for key, value in reversed(document.items()) if key.lower() == "runtime"), None)
    if not isinstance(runtime, dict):
        return document
    entries = spelled_runtime(cast("Json", runtime))
    kept = {name: entry for name, entry in entries.items() if entry is not None and entry != {}}
    return {key: value for key, value in document.items() if key.lower() != "runtime"} | {"runtime": kept}


def _typed(runtime: dict[str, Json]) -> dict[str, Json]:
    """Check the types of the known keys and drop nulls; a plugin's further keys pass."""
    known = [field.name for field in fields(KnownRuntimes) if field.name in runtime]
    if not known:
        return runtime
    try:
        shaped = convert({name: runtime[name] for name in known}, KnownRuntimes)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(str(error).replace("$.", "$.runtime.", 1)) from None
    plain: dict[str, Json] = msgspec.json.decode(msgspec.json.encode(shaped))
    typed = dict(runtime)
    for name in known:
        ours = getattr(shaped, name).__struct_fields__
        further = {
            key: value for key, value in runtime[name].items() if key not in ours and value is not None
        }
        typed[name] = plain[name] | further
    return {name: entry for name, entry in typed.items() if entry}


def _without_empty(benchmark: ProviderBenchmark) -> ProviderBenchmark:
    """The SDK's CLI sends every field, empty ones too; they are not shown again."""
    empty = {name: UNSET for name in _OPTIONAL if getattr(benchmark, name) in ("", ())}
    return replace(benchmark, **empty) if empty else benchmark
