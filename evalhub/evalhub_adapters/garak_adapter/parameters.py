"""The ``parameters`` of a benchmark of garak: names, ranges and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import JsonObject, as_list, describe
from evalhub_common.adapter.parameters import flag, number, text, whole


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Validated parameters; None means "not given".

    ``prompts`` limits the prompts of each probe, of which each is sent ``generations`` times. ``generation`` has fields of the
    request. ``ignored`` are the names of unknown parameters.
    """

    probes: tuple[str, ...]
    probe_tags: str | None
    prompts: int | None
    generations: int
    eval_threshold: float
    extended_detectors: bool
    concurrency: int
    timeout_s: float
    max_retries: int
    seed: int
    generation: JsonObject
    ignored: tuple[str, ...]


def read_parameters(parameters: JsonObject, num_examples: int | None) -> Parameters:
    """Validate ``parameters``. A null counts as not given.

    Names of garak are accepted beside EvalHub's: ``parallel_attempts`` for ``concurrency``, ``limit`` for ``num_examples``.

    Raises:
        JobInvalid: a value has a wrong type or is out of range.
    """
    rest = {name: value for name, value in parameters.items() if value is not None}
    limit = whole(rest, "limit", 1, 10**9)
    seed = whole(rest, "seed", 0, 2**31 - 1)
    generation = {
        "temperature": number(rest, "temperature", 0, 2),
        "max_tokens": whole(rest, "max_tokens", 1, 131072),
        "top_p": number(rest, "top_p", 0, 1),
        "seed": seed,
    }
    return Parameters(
        probes=_names(rest, "probes"),
        probe_tags=text(rest, "probe_tags"),
        prompts=num_examples if num_examples is not None else limit,
        generations=whole(rest, "generations", 1, 1000, default=5),
        eval_threshold=number(rest, "eval_threshold", 0, 1, default=0.5),
        extended_detectors=flag(rest, "extended_detectors", default=True),
        concurrency=whole(rest, "concurrency", 1, 256, "parallel_attempts", default=4),
        timeout_s=number(rest, "timeout_s", 0.1, 3600, "timeout", default=300.0),
        max_retries=whole(rest, "max_retries", 0, 20, default=5),
        seed=0 if seed is None else seed,
        generation={name: value for name, value in generation.items() if value is not None},
        ignored=tuple(sorted(rest)),
    )


def _names(rest: JsonObject, name: str) -> tuple[str, ...]:
    """Names in a list, or in a text with commas."""
    value = rest.pop(name, [])
    items = value.split(",") if isinstance(value, str) else as_list(value)
    if items is None or not all(isinstance(item, str) for item in items):
        raise JobInvalid(f"parameters.{name} is {describe(value)}: it must be a list of names")
    return tuple(stripped for item in items if (stripped := str(item).strip()))
