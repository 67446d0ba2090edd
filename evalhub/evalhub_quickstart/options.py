"""The ``parameters`` object of a benchmark: names, ranges and defaults."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import JsonObject, describe

LATENCY = "latency"
LOAD_TEST = "load_test"

Default = TypeVar("Default")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Validated parameters.

    None means "not given": the model's own parameters or the benchmark's default apply.
    """

    concurrency: int
    timeout_s: float
    max_retries: int
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    requests: int | None


def read_options(parameters: JsonObject, benchmark_id: str) -> Options:
    """Validate ``parameters``. A null counts as not given; unknown names are left to :func:`unknown_names`.

    Raises:
        JobInvalid: a value has a wrong type or is out of range.
    """
    return Options(
        concurrency=_whole(parameters, "concurrency", 1, 64, default=4),
        timeout_s=_number(parameters, "timeout_s", 0.1, 3600, default=60.0),
        max_retries=_whole(parameters, "max_retries", 0, 20, default=5),
        temperature=_number(parameters, "temperature", 0, 2, default=None),
        max_tokens=_whole(parameters, "max_tokens", 1, 131072, default=None),
        seed=_whole(parameters, "seed", 0, 2**31 - 1, default=None),
        requests=_whole(parameters, "requests", 1, 10000, default=None) if benchmark_id == LATENCY else None,
    )


def unknown_names(parameters: JsonObject, benchmark_id: str) -> tuple[str, ...]:
    """The parameters that this benchmark does not have, sorted.

    They cause a warning, not an error: a collection may pass the same parameters to benchmarks of several
    providers.
    """
    known = {field.name for field in fields(Options)}
    if benchmark_id != LATENCY:
        known.discard("requests")
    return tuple(sorted(set(parameters) - known))


def _whole(parameters: JsonObject, name: str, low: int, high: int, *, default: Default) -> int | Default:
    value = parameters.get(name)
    if value is None:
        return default
    # JSON has one type of number: 4 may arrive as 4.0.
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and low <= value <= high
        and value == int(value)
    ):
        return int(value)
    raise _out_of_range(name, value, f"a whole number from {low} to {high}")


def _number(
    parameters: JsonObject, name: str, low: float, high: float, *, default: Default
) -> float | Default:
    value = parameters.get(name)
    if value is None:
        return default
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    raise _out_of_range(name, value, f"a number from {low:g} to {high:g}")


def _out_of_range(name: str, value: object, allowed: str) -> JobInvalid:
    return JobInvalid(f"parameters.{name} is {describe(value)}: it must be {allowed}")
