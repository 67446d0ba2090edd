"""Parameters of the load test: names, ranges and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import JsonObject, as_list, describe
from evalhub_common.adapter.parameters import flag, number, whole

DEFAULT_LEVELS = (1, 2, 4, 8)
DEFAULT_REQUESTS = 20
MAX_LEVELS = 16
MAX_CONCURRENCY = 256
MAX_REQUESTS = 10_000


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Validated parameters.

    ``requests`` and ``duration_s`` limit a level, ``warmup`` is the number of unmeasured requests per worker before it.
    ``ignored`` are the names of unknown parameters.
    """

    levels: tuple[int, ...]
    requests: int
    duration_s: float | None
    warmup: int
    prompt_tokens: int
    output_tokens: int
    ignore_eos: bool
    temperature: float | None
    timeout_s: float
    seed: int
    ignored: tuple[str, ...]


def read_load_options(parameters: JsonObject, num_examples: int | None) -> LoadOptions:
    """Validate ``parameters``. A null counts as not given; ``num_examples`` limits the requests of each level.

    Raises:
        JobInvalid: a value has a wrong type or is out of range.
    """
    rest = dict(parameters)
    duration_s = number(rest, "duration_s", 1, 3600)
    requests = whole(rest, "requests", 1, MAX_REQUESTS)
    if requests is None:
        requests = DEFAULT_REQUESTS if duration_s is None else MAX_REQUESTS
    return LoadOptions(
        levels=_levels(rest.pop("concurrency", None)),
        requests=min(requests, num_examples or requests),
        duration_s=duration_s,
        warmup=whole(rest, "warmup", 0, 100, default=1),
        prompt_tokens=whole(rest, "prompt_tokens", 16, 100_000, default=64),
        output_tokens=whole(rest, "output_tokens", 1, 131_072, "max_tokens", default=64),
        ignore_eos=flag(rest, "ignore_eos", default=False),
        temperature=number(rest, "temperature", 0, 2),
        timeout_s=number(rest, "timeout_s", 0.1, 3600, default=60.0),
        seed=whole(rest, "seed", 0, 2**31 - 1, default=0),
        ignored=tuple(sorted(rest)),
    )


def _levels(value: object) -> tuple[int, ...]:
    """The levels in ascending order; one number is a single level."""
    if value is None:
        return DEFAULT_LEVELS
    items = as_list(value)
    if items is None:
        items = [value]
    levels = sorted(
        {
            int(item)
            for item in items
            if isinstance(item, int | float) and not isinstance(item, bool) and item == int(item)
        }
    )
    if len(levels) != len(items) or not levels or len(levels) > MAX_LEVELS:
        raise _invalid_levels(value)
    if not 1 <= levels[0] <= levels[-1] <= MAX_CONCURRENCY:
        raise _invalid_levels(value)
    return tuple(levels)


def _invalid_levels(value: object) -> JobInvalid:
    return JobInvalid(
        f"parameters.concurrency is {describe(value)}: it must be a whole number from 1 to {MAX_CONCURRENCY}, or a list of "
        f"at most {MAX_LEVELS} different ones"
    )
