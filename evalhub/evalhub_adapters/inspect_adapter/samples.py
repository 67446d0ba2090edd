"""Samples of Inspect in the documented format, and back: the scores of an earlier run are part of its sample file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from evalhub_adapters.inspect_adapter.results import sample_metrics
from evalhub_common.adapter.json_values import JsonObject, as_list, as_object, finite

SHOWN_CHARACTERS = 300
SCORES = "scores"
"""The member of ``metadata`` with the scores as Inspect has them."""
_NETWORK = re.compile(
    r"API(Connection|Timeout|Status)Error|InternalServerError|RateLimitError|ConnectError|Timeout(Error)?\b"
)
_REQUEST_END = "\\n}\\n\\n"
"""What follows the request that an error repeats."""


def sample_line(sample: JsonObject, means: Mapping[str, Sequence[str]], task: str | None) -> JsonObject:
    """A sample of a log as a line of the sample file.

    ``means`` are those of :func:`~evalhub_adapters.inspect_adapter.results.mean_names`; ``task`` is the task of a benchmark with several.
    """
    scores = as_object(sample.get("scores")) or {}
    first = as_object(next(iter(scores.values()), None)) or {}
    error = as_object(sample.get("error"))
    epoch = sample.get("epoch")
    output = as_object(sample.get("output")) or {}
    return {
        "sample_id": sample_key(sample.get("id"), task),
        "epoch": epoch - 1 if isinstance(epoch, int) else None,
        "metrics": None if error else sample_metrics(scores, means),
        "input": shown_input(sample.get("input")),
        "output": output.get("completion"),
        "target": sample.get("target"),
        "answer": first.get("answer"),
        "explanation": first.get("explanation")
        if first.get("explanation") != output.get("completion")
        else None,
        "error": readable_error(str(error.get("message"))) if error else None,
        "error_kind": _error_kind(error) if error else None,
        "messages": _messages(sample.get("messages")),
        "group": task,
        "latency_s": sample.get("working_time"),
        "ended_at": sample.get("completed_at"),
        "usage": _usage(sample.get("model_usage")),
        "metadata": {
            **(as_object(sample.get("metadata")) or {}),
            SCORES: {name: _kept(score) for name, score in scores.items()},
            **({"limit": sample["limit"]} if sample.get("limit") else {}),
        },
    }


def readable_error(message: str) -> str:
    """An error of Inspect without the request that it repeats."""
    if not message.startswith("ModelGenerateError"):
        return message
    return message.rpartition(_REQUEST_END)[2].removesuffix("')").replace("\\'", "'")


def sample_key(value: object, task: str | None) -> str:
    """The id of a sample in the sample file."""
    return f"{task}/{value}" if task else str(value)


def finished_scores(lines: Iterable[JsonObject]) -> dict[tuple[str, int], JsonObject]:
    """The lines of an earlier run with values of all scores and no error, by id and epoch (from 1, as Inspect counts)."""
    found: dict[tuple[str, int], JsonObject] = {}
    for line in lines:
        epoch = line.get("epoch", 0)
        scores = as_object((as_object(line.get("metadata")) or {}).get(SCORES))
        if isinstance(epoch, int):
            key = (str(line.get("sample_id")), epoch + 1)
            found.pop(key, None)  # the last line counts
            if scores and not line.get("error") and all(map(_has_value, scores.values())):
                found[key] = line
    return found


def unscored_note(lines: Sequence[JsonObject]) -> str | None:
    """A clause about samples without an error that have no score, such as those whose judge did not answer; None without any."""
    unscored = [
        line
        for line in lines
        if not line.get("error")
        and not any(
            map(_has_value, (as_object((as_object(line.get("metadata")) or {}).get(SCORES)) or {}).values())
        )
    ]
    if not unscored:
        return None
    note = f"{len(unscored)} of {len(lines)} samples have no score"
    causes = (str(line["explanation"]) for line in unscored if line.get("explanation"))
    cause = " ".join(next(causes, "").split())
    return f"{note}; the first one: {cause[:SHOWN_CHARACTERS]}" if cause else note


def previous_sample(line: JsonObject, sample_id: object, epoch: int, input_: object) -> JsonObject:
    """The fields of Inspect's sample for a line of an earlier run."""
    metadata = dict(as_object(line.get("metadata")) or {})
    text = line.get("output")
    choice = {"message": {"role": "assistant", "content": text}, "stop_reason": "stop"}
    return {
        "id": sample_id,
        "epoch": epoch,
        "input": input_,
        "target": line.get("target") if line.get("target") is not None else "",
        "messages": list(_chat(line.get("messages"))),
        "output": {"choices": [choice], "completion": text} if isinstance(text, str) else {},
        "scores": metadata.pop(SCORES, {}),
        "metadata": metadata,
        "working_time": line.get("latency_s"),
    }


def _chat(messages: object) -> Iterator[JsonObject]:
    """Messages with a role and a text; those about tools are left out, which need ids that are not kept."""
    for item in as_list(messages) or []:
        message = as_object(item) or {}
        if message.get("role") in ("system", "user", "assistant") and isinstance(message.get("content"), str):
            yield {"role": message["role"], "content": message["content"]}


def _has_value(score: object) -> bool:
    return finite((as_object(score) or {}).get("value")) is not None


def _kept(score: object) -> JsonObject:
    found = as_object(score) or {}
    return {name: found[name] for name in ("value", "answer", "metadata") if found.get(name) is not None}


def shown_input(value: object) -> object:
    """The input of a sample in the sample file: a text, or messages."""
    return value if isinstance(value, str) else _messages(value)


def _messages(value: object) -> list[object]:
    """Messages without Inspect's ids and sources."""
    kept = ("role", "content", "tool_calls", "tool_call_id", "function", "error")
    return [
        {name: message[name] for name in kept if message.get(name) is not None}
        for message in map(as_object, as_list(value) or [])
        if message is not None
    ]


def _usage(value: object) -> JsonObject | None:
    """The numbers of tokens of all models together."""
    totals: JsonObject = {}
    for usage in (as_object(value) or {}).values():
        for name, count in (as_object(usage) or {}).items():
            known = totals.get(name, 0)
            if isinstance(count, int) and isinstance(known, int):
                totals[name] = known + count
    return totals or None


def _error_kind(error: JsonObject) -> str | None:
    text = f"{error.get('message')} {error.get('traceback')}"
    return "infrastructure" if _NETWORK.search(text) else None
