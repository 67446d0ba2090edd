"""Server-sent events, as the HTML standard defines them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from evalhub_server.client.resources import Json
from evalhub_server.client.transport import decode


class StreamEvent(NamedTuple):
    """One event: its name, its data and the id from which the stream can be resumed."""

    event: str
    data: Json
    id: str = ""


def read_events(chunks: Iterator[bytes]) -> Iterator[StreamEvent]:
    """The events of a stream with JSON objects as data. Comments (heartbeats) and an unfinished last event are dropped."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        *blocks, rest = rest.split(b"\n\n")
        for block in blocks:
            fields: dict[str, list[str]] = {}
            for line in block.decode("utf-8", "replace").splitlines():
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
            if "data" in fields:
                data = decode("\n".join(fields["data"]).encode())
                yield StreamEvent(fields.get("event", ["message"])[-1], data, fields.get("id", [""])[-1])
