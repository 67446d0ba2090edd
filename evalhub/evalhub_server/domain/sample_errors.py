"""Errors of samples, grouped by their message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import Struct

from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.models.sample import OUTCOMES

MAX_SAMPLES = 500
"""Errors that are read; further ones are not grouped."""
MAX_GROUPS = 10
MAX_CHARACTERS = 300


class SampleErrors(Struct, frozen=True):
    """The most frequent messages with their numbers of samples. ``count`` is the number of all errors, ``read`` of those grouped."""

    count: int
    read: int
    groups: tuple[tuple[str, int], ...]


def error_rows(index: SampleIndex) -> list[int]:
    """The rows of samples with an error."""
    error = OUTCOMES.index("error")
    return [row for row, outcome in enumerate(index.outcomes) if outcome == error]


def grouped_errors(count: int, lines: Iterable[bytes]) -> SampleErrors:
    """Group the errors in lines of a sample file by the first line of their message."""
    messages = Counter(_message(msgspec.json.decode(line)) for line in lines)
    return SampleErrors(count, messages.total(), tuple(messages.most_common(MAX_GROUPS)))


def _message(sample: Any) -> str:
    text = cast("dict[str, Any]", sample).get("error")
    lines = text.strip().splitlines() if isinstance(text, str) else []
    return lines[0][:MAX_CHARACTERS] if lines else ""
