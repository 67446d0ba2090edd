"""The ``parameters`` of a benchmark of Inspect: names, ranges and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import JsonObject, as_list, as_object, describe
from evalhub_common.adapter.parameters import flag, number, text, whole

SANDBOXES = ("docker", "k8s", "local")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Validated parameters; None means "not given".

    ``generation`` has options of Inspect's ``GenerateConfig``. ``task_args`` are arguments of the task's function; so are those in
    ``rest`` that it has, while the others are ignored. ``fail_on_error`` is Inspect's: a share or number of samples that may fail,
    or whether one may.
    """

    tasks: tuple[str, ...]
    limit: int | None
    epochs: int | None
    concurrency: int
    timeout_s: float
    max_retries: int
    num_fewshot: int | None
    generation: JsonObject
    message_limit: int | None
    token_limit: int | None
    time_limit_s: int | None
    sandbox: str | None
    fail_on_error: bool | float
    judge_model: str | None
    judge_url: str | None
    task_args: JsonObject
    rest: JsonObject


def read_parameters(parameters: JsonObject, num_examples: int | None) -> Parameters:
    """Validate ``parameters``. A null counts as not given.

    Names of Inspect are accepted beside EvalHub's: ``max_connections`` for ``concurrency``, ``attempt_timeout`` for ``timeout_s``,
    ``limit`` for ``num_examples``, ``time_limit`` for ``time_limit_s``.

    Raises:
        JobInvalid: a value has a wrong type or is out of range.
    """
    rest = {name: value for name, value in parameters.items() if value is not None}
    limit = whole(rest, "limit", 1, 10**9)
    generation = {
        "temperature": number(rest, "temperature", 0, 2),
        "max_tokens": whole(rest, "max_tokens", 1, 131072),
        "top_p": number(rest, "top_p", 0, 1),
        "seed": whole(rest, "seed", 0, 2**31 - 1),
        "system_message": text(rest, "system_message"),
    }
    return Parameters(
        tasks=_tasks(rest),
        limit=num_examples if num_examples is not None else limit,
        epochs=whole(rest, "epochs", 1, 1000),
        concurrency=whole(rest, "concurrency", 1, 256, "max_connections", default=4),
        timeout_s=number(rest, "timeout_s", 1, 3600, "attempt_timeout", default=300.0),
        max_retries=whole(rest, "max_retries", 0, 20, default=5),
        num_fewshot=whole(rest, "num_few_shot", 0, 1000, "num_fewshot"),
        generation={name: value for name, value in generation.items() if value is not None},
        message_limit=whole(rest, "message_limit", 1, 100_000),
        token_limit=whole(rest, "token_limit", 1, 10**9),
        time_limit_s=whole(rest, "time_limit_s", 1, 10**6, "time_limit"),
        sandbox=_sandbox(rest),
        fail_on_error=_fail_on_error(rest),
        judge_model=text(rest, "judge_model"),
        judge_url=text(rest, "judge_url"),
        task_args=_object(rest, "task_args"),
        rest=rest,
    )


def _tasks(rest: JsonObject) -> tuple[str, ...]:
    value = rest.pop("tasks", [])
    names = [value] if isinstance(value, str) else as_list(value)
    if names is None or not all(isinstance(name, str) and name for name in names):
        raise JobInvalid(f"parameters.tasks is {describe(value)}: it must be a list of names of tasks")
    return tuple(map(str, names))


def _sandbox(rest: JsonObject) -> str | None:
    sandbox = text(rest, "sandbox")
    confirmed = flag(rest, "confirm_run_unsafe_code", default=False)
    if sandbox is not None and sandbox not in SANDBOXES:
        raise JobInvalid(
            f"parameters.sandbox is {describe(sandbox)}: it must be one of {', '.join(SANDBOXES)}"
        )
    if sandbox == "local" and not confirmed:
        raise JobInvalid(
            "parameters.sandbox 'local' runs code that the model writes on this machine, without a sandbox: set "
            "parameters.confirm_run_unsafe_code to true if that is what you want"
        )
    return sandbox


def _fail_on_error(rest: JsonObject) -> bool | float:
    value = rest.pop("fail_on_error", False)
    if isinstance(value, bool) or (isinstance(value, int | float) and value > 0):
        return value
    raise JobInvalid(
        f"parameters.fail_on_error is {describe(value)}: it must be true, false, a share of samples below 1 or their number"
    )


def _object(rest: JsonObject, name: str) -> JsonObject:
    value = rest.pop(name, {})
    found = as_object(value)
    if found is None:
        raise JobInvalid(f"parameters.{name} is {describe(value)}: it must be an object")
    return found
