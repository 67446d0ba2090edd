"""Providers and collections for tests, built from request bodies."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.resource import CollectionRecord, ProviderRecord
from evalhub_server.domain.resource_requests import read_collection, read_provider
from evalhub_server.domain.resource_transitions import Creation, new_collection, new_provider
from evalhub_server.domain.taxonomy import VisibleBenchmarks, visible_benchmarks
from evalhub_server.errors import ApiError

SAMPLES = Path(__file__).parent.parent / "fixtures" / "rest"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
MADE = Creation(id="id-1", tenant="team-a", owner="ada", now=NOON)
NOTHING: VisibleBenchmarks = {}
A_MEMBER: dict[str, Any] = {"id": "b", "provider_id": "p"}


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def plain(value: Any) -> Any:
    """The resource as clients receive it."""
    return json.loads(msgspec.json.encode(value))


def a_provider(**fields: Any) -> ProviderRecord:
    return new_provider(read_provider(as_json({"name": "p"} | fields)), MADE)


def collection_document(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "category": "x", "benchmarks": [A_MEMBER]} | fields


def a_collection(visible: VisibleBenchmarks = NOTHING, **fields: Any) -> CollectionRecord:
    return new_collection(read_collection(as_json(collection_document(**fields))), visible, MADE)


def offering(**benchmarks: dict[str, Any]) -> VisibleBenchmarks:
    """What provider ``p`` offers: the fields of each benchmark by its id."""
    document = {"name": "p", "benchmarks": [{"id": key} | fields for key, fields in benchmarks.items()]}
    return visible_benchmarks({"p": read_provider(as_json(document))})


def refusal(call: Callable[..., Any], *arguments: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(*arguments)
    assert caught.value.status == 400
    return caught.value


def reason(error: ApiError, code: str) -> str:
    """The quoted part of the text of an error with that code."""
    assert error.code == code
    return error.message.split(": '", 1)[1].rsplit("'. Please", 1)[0]
