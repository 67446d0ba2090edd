"""Events that the API refuses: the fault of a body that is not JSON, and the benchmark that an event is about."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, cast

from evalhub_server.domain.plain_text import plain_text
from evalhub_server.domain.record import JobRecord, RefusedEvent

MAX_REASON_CHARACTERS = 300

_ENVELOPE = "benchmark_status_event"
_ENCODINGS = (
    (b"\x1f\x8b", "the body is compressed with gzip; send plain JSON"),
    (b"\xff\xfe\x00\x00", "the body is UTF-32; send UTF-8"),
    (b"\x00\x00\xfe\xff", "the body is UTF-32; send UTF-8"),
    (b"\xff\xfe", "the body is UTF-16; send UTF-8"),
    (b"\xfe\xff", "the body is UTF-16; send UTF-8"),
    (b"\xef\xbb\xbf", "the body begins with a byte order mark (BOM); send UTF-8 without it"),
)


class _Constant:
    """A literal that Python's decoder accepts beyond JSON: NaN, Infinity or -Infinity."""

    def __init__(self, name: str) -> None:
        self.name = name


def encoding_fault(body: bytes) -> str:
    """What a body is instead of UTF-8; empty if nothing is known to be wrong with its encoding."""
    for start, fault in _ENCODINGS:
        if body.startswith(start):
            return fault
    if body[:1] == b"\0" or body[1:2] == b"\0":  # JSON begins with an ASCII character
        wide = b"\0\0" in body[:4]
        return f"the body is {'UTF-32' if wide else 'UTF-16'}; send UTF-8"
    return ""


def number_fault(body: bytes) -> str:
    """Name the first number of a body that JSON cannot represent, such as ``metrics.acc is NaN``; else empty.

    The document must not be nested deeper than Python's recursion limit allows.
    """
    try:
        document = json.loads(body, parse_constant=_Constant)
    except (ValueError, RecursionError):  # includes undecodable bytes
        return ""
    return next(_number_faults(document, ""), "")


def _number_faults(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Constant):
        yield f"{path or 'the body'} is {value.name}"
    elif isinstance(value, float) and math.isinf(value):
        yield f"{path or 'the body'} is a number beyond the range of doubles"
    elif isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            inner = f"{path}.{key}" if path else key
            yield from _number_faults(item, "" if inner == _ENVELOPE else inner)
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _number_faults(item, f"{path}[{index}]")


def refused_event(body: bytes, reason: str, job: JobRecord) -> tuple[int, RefusedEvent] | None:
    """The index of the benchmark that a refused event is about, and the event; None if it could be about several.

    The body is read as far as possible. One that cannot be read belongs to the only benchmark of its job.
    """
    event = _content(body)
    status = event.get("status")
    refused = RefusedEvent(reason=_shortened(reason), status=status if isinstance(status, str) else "")
    named = [
        index
        for index, planned in enumerate(job.plan.benchmarks)
        if (planned.provider_id, planned.id) == (event.get("provider_id"), event.get("id"))
    ]
    index: Any = event.get("benchmark_index", 0)
    if named and index in named:
        return index, refused
    candidates = named or range(len(job.plan.benchmarks))
    return (candidates[0], refused) if len(candidates) == 1 else None


def _content(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    event = cast("dict[str, Any]", document).get(_ENVELOPE) if isinstance(document, dict) else None
    return cast("dict[str, Any]", event) if isinstance(event, dict) else {}


def _shortened(reason: str) -> str:
    text = " ".join(plain_text(reason).split()).rstrip(".")
    return text if len(text) <= MAX_REASON_CHARACTERS else text[:MAX_REASON_CHARACTERS] + "…"
