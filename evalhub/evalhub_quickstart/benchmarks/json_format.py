"""Requests for a JSON object with given keys and types.

The data were written for this project. A ``schema`` maps every key to ``string``, ``integer``, ``number``, ``boolean``,
``list of strings``, ``list of integers``, or to the list of strings that are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from evalhub_common.adapter.json_values import JsonObject, as_list, as_object, parse
from evalhub_quickstart.benchmarks.base import Benchmark, Outcome, Sample, load_rows, shares

_FENCE = re.compile(r"\A```(?:json|JSON)?[ \t]*\n(.*)\n[ \t]*```\Z", re.DOTALL)


class JsonFormat(Benchmark):
    """Scores 1 if an answer is an object with the right keys and types."""

    primary_mark = "schema_adherence"
    max_tokens = 512

    def samples(self, requests: int | None) -> list[Sample]:
        return [
            Sample(index, str(row["id"]), str(row["prompt"]), {"schema": row["schema"]})
            for index, row in enumerate(load_rows("json_format.jsonl"))
        ]

    def marks(self, sample: Sample, answer: str) -> Mapping[str, bool]:
        fenced = _FENCE.match(answer)
        try:
            value = parse(fenced[1] if fenced else answer)
        except ValueError:
            return {"schema_adherence": False, "valid_json": False, "bare_json": False}
        schema = as_object(sample.expected["schema"]) or {}
        return {"schema_adherence": adheres(value, schema), "valid_json": True, "bare_json": not fenced}

    def metrics(self, outcomes: Sequence[Outcome], wall_s: float) -> dict[str, float]:
        return shares(outcomes, ("schema_adherence", "valid_json", "bare_json"))


def adheres(value: object, schema: JsonObject) -> bool:
    """Whether ``value`` is an object with exactly the keys of ``schema`` and a value of the right type under
    each."""
    found = as_object(value)
    return (
        found is not None
        and set(found) == set(schema)
        and all(_fits(found[key], schema[key]) for key in schema)
    )


def _fits(value: object, kind: object) -> bool:
    allowed = as_list(kind)
    if allowed is not None:
        return isinstance(value, str) and value in allowed
    if kind in ("list of strings", "list of integers"):
        items = as_list(value)
        item_kind = str(kind).removeprefix("list of ").removesuffix("s")
        return items is not None and all(_fits(item, item_kind) for item in items)
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    # As in JSON Schema, 3.0 is an integer: JSON has one type of number.
    return kind == "number" or float(value).is_integer()


BENCHMARK = JsonFormat()
