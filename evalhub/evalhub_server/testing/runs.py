"""Builders of runs, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from evalhub_server.models.common import Json
from evalhub_server.models.job import Model
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins.runtime import BenchmarkRun


def a_spec(**overrides: Any) -> JobSpec:
    """Return the ``job.json`` of benchmark 0 of a new job; ``overrides`` are fields of :class:`JobSpec`."""
    fields: dict[str, Any] = {
        "id": str(uuid4()),
        "provider_id": "provider-a",
        "benchmark_id": "bench-0",
        "benchmark_index": 0,
        "model": Model(url="http://localhost:8000/v1", name="a-model"),
        "parameters": {},
        "callback_url": "http://127.0.0.1:1",
    }
    return JobSpec(**(fields | overrides))


def a_run(
    config: Json | None = None,
    *,
    attempt: int = 1,
    environment: Mapping[str, str] | None = None,
    **overrides: Any,
) -> BenchmarkRun:
    """Return a run of a new job with the provider's ``config``; ``overrides`` are fields of its :func:`a_spec`."""
    return BenchmarkRun(
        spec=a_spec(**overrides), attempt=attempt, config=config, environment=environment or {}
    )
