"""The ``parameters`` object of a benchmark: names, ranges and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.parameters import number, whole

LATENCY = "latency"
LOAD_TEST = "load_test"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Validated parameters.

    None means "not given": the model's own parameters or the benchmark's default apply. ``ignored`` are the names of unknown
    parameters. They cause a warning, not an error: a collection may pass the same parameters to benchmarks of several providers.
    """

    concurrency: int
    timeout_s: float
    max_retries: int
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    requests: int | None
    ignored: tuple[str, ...]


def read_options(parameters: JsonObject, benchmark_id: str) -> Options:
    """Validate ``parameters``. A null counts as not given.

    Raises:
        JobInvalid: a value has a wrong type or is out of range.
    """
    rest = dict(parameters)
    return Options(
        concurrency=whole(rest, "concurrency", 1, 64, default=4),
        timeout_s=number(rest, "timeout_s", 0.1, 3600, default=60.0),
        max_retries=whole(rest, "max_retries", 0, 20, default=5),
        temperature=number(rest, "temperature", 0, 2),
        max_tokens=whole(rest, "max_tokens", 1, 131072),
        seed=whole(rest, "seed", 0, 2**31 - 1),
        requests=whole(rest, "requests", 1, 10000) if benchmark_id == LATENCY else None,
        ignored=tuple(sorted(rest)),
    )
