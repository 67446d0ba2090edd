"""Checks of a job that is planned and not created: its benchmarks, and warnings about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalhub_server.domain.record import JobPlan
from evalhub_server.domain.requirements import open_requirements, requirement_texts
from evalhub_server.errors import FieldError
from evalhub_server.models.job_check import CheckedBenchmark

REQUIRED_KEYS = {"local": "command", "k8s": "image"}
"""What a provider's entry for a runtime must have, by its key; entries of other runtimes are their own."""


def checked_benchmarks(plan: JobPlan, provider_key: str) -> tuple[CheckedBenchmark, ...]:
    """The benchmarks of a plan. ``provider_key`` is the runtime's key in providers."""
    return tuple(
        CheckedBenchmark(
            benchmark_index=index,
            provider_id=benchmark.provider_id,
            id=benchmark.id,
            weight=benchmark.weight,
            primary_score=benchmark.primary_score,
            threshold=benchmark.threshold,
            parameters=benchmark.parameters,
            test_data_ref=benchmark.test_data_ref,
            test_data_path=benchmark.test_data_path,
            hardware_config=benchmark.hardware_config,
            alias_of=benchmark.alias_of,
            requires=benchmark.requires,
            generating_twin=benchmark.generating_twin,
            runnable=_is_runnable(plan.runtimes.get(benchmark.provider_id, {}), provider_key),
        )
        for index, benchmark in enumerate(plan.benchmarks)
    )


def plan_warnings(plan: JobPlan, provider_key: str) -> Iterator[FieldError]:
    """What is accepted and perhaps not intended; paths are those of the check's own ``benchmarks``."""
    pairs: dict[tuple[str, str], int] = {}
    for index, benchmark in enumerate(plan.benchmarks):
        path = f"benchmarks[{index}]"
        if not _is_runnable(plan.runtimes.get(benchmark.provider_id, {}), provider_key):
            entry = f"runtime.{provider_key}"
            if provider_key in REQUIRED_KEYS:
                entry += f".{REQUIRED_KEYS[provider_key]}"
            text = f"will fail to start: the provider '{benchmark.provider_id}' has no {entry}"
            yield FieldError(path, text)
        has_data = benchmark.test_data_ref is not None or bool(benchmark.test_data_path)
        requires = open_requirements(benchmark.requires, benchmark.parameters, has_data=has_data)
        for text in requirement_texts(requires, benchmark.generating_twin):
            yield FieldError(path, text)
        if benchmark.primary_score is None:
            yield FieldError(
                f"{path}.primary_score", "is missing, so the benchmark does not count in the score"
            )
        elif benchmark.threshold is None:
            yield FieldError(f"{path}.pass_criteria", "is missing, so the benchmark has no verdict")
        first = pairs.setdefault((benchmark.provider_id, benchmark.id), index)
        if first != index and plan.benchmarks[first] == benchmark:
            yield FieldError(path, f"is the same as benchmarks[{first}]")


def _is_runnable(runtimes: Mapping[str, Mapping[str, Any]], provider_key: str) -> bool:
    entry = runtimes.get(provider_key)
    if entry is None:
        return False
    required = REQUIRED_KEYS.get(provider_key)
    return required is None or bool(entry.get(required))
