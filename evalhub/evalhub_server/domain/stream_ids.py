"""Ids of the events of a stream, from which it resumes: ``<epoch>-<position>[;<index>:<offset>,…][;end]``.

``epoch`` and ``position`` are those of the change feed; an id of an earlier life of the server has another epoch. The
offsets are the positions in the logs of benchmarks, in bytes. ``end`` marks the last event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

_ID = re.compile(
    r"(?P<epoch>[0-9a-f]{8})-(?P<position>\d{1,15})(?:;(?P<logs>\d{1,6}:\d{1,15}(?:,\d{1,6}:\d{1,15})*))?(?P<end>;end)?",
    re.ASCII,
)
_MAX_CHARACTERS = 64 * 1024


class StreamPosition(Struct, kw_only=True, frozen=True):
    """Where a reader is in a stream."""

    epoch: str
    position: int
    offsets: Mapping[int, int] = {}
    ended: bool = False

    @property
    def id(self) -> str:
        logs = ""
        if self.offsets:
            logs = ";" + ",".join(f"{index}:{offset}" for index, offset in sorted(self.offsets.items()))
        return f"{self.epoch}-{self.position}{logs}{';end' if self.ended else ''}"


def read_position(text: str) -> StreamPosition | None:
    """Parse an id; None for any other text, which is as good as no id."""
    match = _ID.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if match is None:
        return None
    pairs = [pair.split(":") for pair in (match["logs"] or "").split(",") if pair]
    return StreamPosition(
        epoch=match["epoch"],
        position=int(match["position"]),
        offsets={int(index): int(offset) for index, offset in pairs},
        ended=match["end"] is not None,
    )
