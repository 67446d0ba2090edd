"""The ``parameters`` of a benchmark of lm-evaluation-harness: names, ranges and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import JsonObject, as_object, describe
from evalhub_common.adapter.parameters import flag, number, text, whole

ENDPOINTS = ("chat", "completions")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Validated parameters; None means "not given".

    ``endpoint`` is where texts are generated. ``generation`` has fields of the request that take precedence over the task's own.
    ``ignored`` are the names of unknown parameters.
    """

    num_fewshot: int | None
    limit: int | None
    concurrency: int
    timeout_s: float
    max_retries: int
    seed: int
    bootstrap_iterations: int
    endpoint: str
    system_instruction: str | None
    fewshot_as_multiturn: bool
    confirm_run_unsafe_code: bool
    generation: JsonObject
    ignored: tuple[str, ...]


def read_parameters(parameters: JsonObject, num_examples: int | None) -> Parameters:
    """Validate ``parameters``. A null counts as not given.

    Names of lm-evaluation-harness are accepted beside EvalHub's: ``num_fewshot`` for ``num_few_shot``, ``num_concurrent`` for
    ``concurrency``, ``timeout`` for ``timeout_s``, ``max_gen_toks`` for ``max_tokens``, ``limit`` for ``num_examples``.

    Raises:
        JobInvalid: a value has a wrong type or is out of range.
    """
    rest = {name: value for name, value in parameters.items() if value is not None}
    seed = whole(rest, "seed", 0, 2**31 - 1)
    endpoint = text(rest, "endpoint") or ENDPOINTS[0]
    if endpoint not in ENDPOINTS:
        raise JobInvalid(f"parameters.endpoint is {describe(endpoint)}: it must be {' or '.join(ENDPOINTS)}")
    generation = as_object(rest.pop("gen_kwargs", {}))
    if generation is None:
        raise JobInvalid(
            f"parameters.gen_kwargs is {describe(parameters['gen_kwargs'])}: it must be an object"
        )
    explicit = {
        "temperature": number(rest, "temperature", 0, 2),
        "max_tokens": whole(rest, "max_tokens", 1, 131072, "max_gen_toks"),
        "top_p": number(rest, "top_p", 0, 1),
        "seed": seed,
    }
    limit = whole(rest, "limit", 1, 10**9)
    return Parameters(
        num_fewshot=whole(rest, "num_few_shot", 0, 1000, "num_fewshot"),
        limit=num_examples if num_examples is not None else limit,
        concurrency=whole(rest, "concurrency", 1, 256, "num_concurrent", default=4),
        timeout_s=number(rest, "timeout_s", 0.1, 3600, "timeout", default=300.0),
        max_retries=whole(rest, "max_retries", 0, 20, default=5),
        seed=1234 if seed is None else seed,
        bootstrap_iterations=whole(rest, "bootstrap_iters", 0, 100_000, default=1000),
        endpoint=endpoint,
        system_instruction=text(rest, "system_instruction"),
        fewshot_as_multiturn=flag(rest, "fewshot_as_multiturn", default=True),
        confirm_run_unsafe_code=flag(rest, "confirm_run_unsafe_code", default=False),
        generation={**generation, **{name: value for name, value in explicit.items() if value is not None}},
        ignored=tuple(sorted(rest)),
    )
