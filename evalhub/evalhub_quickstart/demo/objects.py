"""Building the JSON object that a prompt describes by its keys and types."""

from __future__ import annotations

import json
import re

from evalhub_quickstart.demo.chance import draw, happens, pick

WRONG_PERCENT = 12
FENCE_PERCENT = 12

_INLINE = re.compile(r'"(\w+)" \(([^)]+)\)')
_LISTED = re.compile(r"^- (\w+): (.+)$", re.MULTILINE)
_WORDS = ("amber", "birch", "cobalt", "delta", "ember", "fjord", "grove", "harbour")


def make_object(prompt: str) -> str:
    """A JSON object for the prompt, sometimes in a fence, sometimes wrong on purpose."""
    found: list[tuple[str, str]] = _INLINE.findall(prompt) or _LISTED.findall(prompt)
    value = {key: _value(prompt, key, kind) for key, kind in found}
    fault = (
        pick(prompt, "fault", ("key", "type", "prose")) if happens(prompt, "json", WRONG_PERCENT) else None
    )
    if fault == "key" and value:
        value.popitem()
    if fault == "type" and value:
        value[next(iter(value))] = None
    text = json.dumps(value)
    if fault == "prose":
        return f"Here is the object that you asked for: {text}"
    return f"```json\n{text}\n```" if happens(prompt, "fence", FENCE_PERCENT) else text


def _value(prompt: str, key: str, kind: str) -> object:
    number = draw(prompt, key, 90) + 1
    choices: list[str] = re.findall(r'"([^"]+)"', kind) if kind.startswith("one of") else []
    if choices:
        return pick(prompt, key, choices)
    if kind == "boolean":
        return number % 2 == 0
    if kind == "integer":
        return number
    if kind == "number":
        return number / 4
    if kind == "list of integers":
        return [number, number + 1]
    if kind == "list of strings":
        return [pick(prompt, key + part, _WORDS) for part in ("first", "second")]
    return pick(prompt, key, _WORDS)
