"""Server-sent events, read from a raw connection."""

from __future__ import annotations

import json
import socket
from types import TracebackType
from typing import Any, NamedTuple, Self

from harness.server import RunningServer

TIMEOUT_S = 30.0


class StreamedEvent(NamedTuple):
    """One event; ``id`` is empty if it has none."""

    name: str
    data: dict[str, Any]
    id: str


class EventReader:
    """One connection with a stream: ``status`` and ``fields`` of the head, then events one after the other."""

    def __init__(self, server: RunningServer, path: str, *fields: str, version: str = "1.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S)
        lines = [f"GET {path} HTTP/{version}", f"Host: localhost:{server.port}", *fields, "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.fields: dict[str, str] = {}
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(":")
            self.fields[name.lower()] = value.strip()
        self._chunked = self.fields.get("transfer-encoding") == "chunked"
        self._left = b""
        self.comments = 0
        self.last_id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def chunk(self) -> bytes:
        """The next bytes of the body; nothing at its end."""
        if not self._chunked:
            return self._file.read1(65536)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
        size = int(self._file.readline() or b"0", 16)
        data = self._file.read(size)
        self._file.readline()
        return data

    def event(self) -> StreamedEvent | None:
        """The next event; None at the end of the stream."""
        while True:
            block, found, rest = self._left.partition(b"\n\n")
            if not found:
                if not (data := self.chunk()):
                    return None
                self._left += data
                continue
            self._left = rest
            values = dict(line.split(": ", 1) for line in block.decode().split("\n"))
            if "event" not in values:
                self.comments += 1
                continue
            self.last_id = values.get("id", self.last_id)
            return StreamedEvent(values["event"], json.loads(values["data"]), values.get("id", ""))

    def until(self, name: str) -> list[StreamedEvent]:
        """The events up to and including the next one with this name."""
        events: list[StreamedEvent] = []
        while (event := self.event()) is not None:
            events.append(event)
            if event.name == name:
                return events
        raise AssertionError(f"the stream has ended without {name}: {events}")

    def rest(self) -> list[StreamedEvent]:
        events: list[StreamedEvent] = []
        while (event := self.event()) is not None:
            events.append(event)
        return events
