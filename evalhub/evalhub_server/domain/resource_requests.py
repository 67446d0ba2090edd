"""Decoding and validation of providers and collections in request bodies and files."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import UNSET
from msgspec.structs import fields, replace

from evalhub_server.domain import problems
from evalhub_server.domain.provider_normalization import normalize_runtime_keys
from evalhub_server.domain.struct_fields import normalize_keys
from evalhub_server.domain.validation import (
    Failure,
    convert,
    decode,
    failed_rules,
    parse,
    validate,
    validation_error,
)
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.common import Json
from evalhub_server.models.provider import ProviderBenchmark, ProviderConfig
from evalhub_server.models.rules import REQUIRED, minimum
from evalhub_server.models.runtime import KnownRuntimes

PROVIDER = "ProviderConfig"
COLLECTION = "CollectionConfig"
"""The released server's type names, with which the paths in validation messages start."""

_OPTIONAL = tuple(field.name for field in fields(ProviderBenchmark) if field.default is UNSET)


def read_provider(body: bytes) -> ProviderConfig:
    """Decode the body of a provider's POST or PUT. ``resource``, which the server manages, is ignored.

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
    """Decode the body of a collection's POST or PUT. Its benchmarks need not exist.

    Fields that the server manages are ignored: ``resource``, ``derived_from``, ``status``, ``pinned_order`` and the
    benchmarks' ``url``.

    Raises ``invalid_json_request`` for malformed JSON and wrong types, then ``request_validation_failed``.
    """
    config = decode(body, CollectionConfig)
    if failures := failed_rules(config, COLLECTION):
        raise validation_error(_distinguish_empty_list(failures, body))
    return config


def _distinguish_empty_list(failures: list[Failure], body: bytes) -> list[Failure]:
    """Report an empty list of benchmarks as too short, not as missing, which the decoded model cannot distinguish."""
    document = cast("Json", normalize_keys(parse(body), CollectionConfig) or {})
    if document.get("benchmarks") != []:
        return failures
    missing, too_short = Failure(f"{COLLECTION}.benchmarks", REQUIRED), minimum(1)
    return [failure._replace(rule=too_short) if failure == missing else failure for failure in failures]


def provider_config(raw: Any) -> ProviderConfig:
    """Convert a parsed document, without checking its rules. Raises :class:`msgspec.ValidationError`."""
    config = convert(_with_normalized_runtime(raw), ProviderConfig)
    return replace(
        config,
        benchmarks=tuple(_without_empty(benchmark) for benchmark in config.benchmarks),
        runtime=_checked_runtime(config.runtime),
    )


def _with_normalized_runtime(raw: Any) -> Any:
    """Normalize the keys of ``runtime``, itself in any case, and drop its empty entries."""
    if not isinstance(raw, dict):
        return raw
    document = cast("Json", raw)
    runtime = next((value for key, value in reversed(document.items()) if key.lower() == "runtime"), None)
    if not isinstance(runtime, dict):
        return document
    entries = normalize_runtime_keys(cast("Json", runtime))
    kept = {name: entry for name, entry in entries.items() if entry is not None and entry != {}}
    return {key: value for key, value in document.items() if key.lower() != "runtime"} | {"runtime": kept}


def _checked_runtime(runtime: dict[str, Json]) -> dict[str, Json]:
    """Check the types of ``local`` and ``k8s`` and drop nulls; keys that only a plugin knows are kept."""
    known = [name for name in KnownRuntimes.__struct_fields__ if name in runtime]
    if not known:
        return runtime
    try:
        converted = convert({name: runtime[name] for name in known}, KnownRuntimes)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(str(error).replace("$.", "$.runtime.", 1)) from None
    plain: dict[str, Json] = msgspec.json.decode(msgspec.json.encode(converted))
    checked = dict(runtime)
    for name in known:
        fields_ = getattr(converted, name).__struct_fields__
        extra = {
            key: value for key, value in runtime[name].items() if key not in fields_ and value is not None
        }
        checked[name] = plain[name] | extra
    return {name: entry for name, entry in checked.items() if entry}


def _without_empty(benchmark: ProviderBenchmark) -> ProviderBenchmark:
    """Unset empty optional fields: the SDK's command line sends every field, and responses leave empty ones out."""
    given = [name for name in _OPTIONAL if getattr(benchmark, name) is not UNSET]
    empty = {name: UNSET for name in given if getattr(benchmark, name) in ("", (), {})}
    return replace(benchmark, **empty) if empty else benchmark
