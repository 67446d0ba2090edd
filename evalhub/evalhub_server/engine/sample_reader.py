"""Reader of a stored sample file: lines by row, and search."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import Any, Protocol, cast

import msgspec
from msgspec import Struct

from evalhub_server.domain.sample_details import SampleDetails, details_of
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_query import Rows
from evalhub_server.domain.samples import HASH_BYTES, shown_line
from evalhub_server.models.sample import Sample

WHOLE_LINE_BYTES = 16 * 1024
"""Lines up to this size are whole in lists."""

PREVIEW_CHARACTERS = 1000
DETAILS_BYTES = 64 * 1024 * 1024
"""Size of files up to which metadata and errors are read for facets and filters."""

_STRUCTURE = " ".join([*Sample.__struct_fields__, "role content name type text true false null"])
_NUMERIC = frozenset(b"0123456789.+-e")


class SampleData(Protocol):
    """The content of a sample file. The methods block."""

    def lines(self, index: SampleIndex, rows: Rows) -> Iterator[bytes]:
        """The lines of the rows, without line feeds."""
        ...

    def blocks(self, index: SampleIndex) -> Iterator[tuple[int, bytes]]:
        """The whole content in blocks of whole lines, each with its first row."""
        ...


class SampleFile(Struct, frozen=True, dict=True):
    """A stored sample file with its index. The methods read the file: call them in a thread."""

    data: SampleData
    index: SampleIndex

    def lines(self, rows: Rows) -> Iterator[bytes]:
        """The lines of the rows as responses contain them."""
        for row, line in zip(rows, self.data.lines(self.index, rows), strict=True):
            start = row * HASH_BYTES
            key = self.index.key_hashes[start : start + HASH_BYTES]
            yield shown_line(line, self.index.outcome(row), key)

    @cached_property
    def details(self) -> SampleDetails:
        """The columns of errors and metadata, read on first use; empty for a file above :data:`DETAILS_BYTES`."""
        if self.index.offsets[-1] > DETAILS_BYTES:
            return SampleDetails()
        lines = (line for _, block in self.data.blocks(self.index) for line in block.splitlines())
        return details_of(lines, len(self.index))

    def previews(self, rows: Rows) -> list[bytes]:
        """Like :meth:`lines`, with long members shortened and named in ``truncated``."""
        return [line if len(line) <= WHOLE_LINE_BYTES else _preview(line) for line in self.lines(rows)]

    def search(self, text: str, rows: Rows) -> Collection[int]:
        """Those of the rows whose texts contain ``text``, ASCII letters regardless of case."""
        needle = msgspec.json.encode(text)[1:-1].lower()
        found = self._containing(needle, rows)
        if _is_structural(needle, self.index.metrics):
            wanted = text.casefold()
            lines = zip(found, self.data.lines(self.index, found), strict=True)
            return [row for row, line in lines if _mentions(msgspec.json.decode(line), wanted)]
        return found

    def _containing(self, needle: bytes, rows: Rows) -> list[int]:
        if len(rows) < len(self.index) // 4:
            lines = zip(rows, self.data.lines(self.index, rows), strict=True)
            return [row for row, line in lines if needle in line.lower()]
        offsets, found = self.index.offsets, list[int]()
        for first, content in self.data.blocks(self.index):
            block = content.lower()
            position = block.find(needle)
            while position >= 0:
                row = bisect_right(offsets, offsets[first] + position) - 1
                found.append(row)
                position = block.find(needle, offsets[row + 1] - offsets[first])
        if len(rows) < len(self.index):
            wanted = set(rows)
            return [row for row in found if row in wanted]
        return found


def _preview(line: bytes) -> bytes:
    members = cast("dict[str, Any]", msgspec.json.decode(line))
    truncated: list[str] = []
    for name, value in members.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if len(text) > PREVIEW_CHARACTERS:
            members[name] = text[:PREVIEW_CHARACTERS] + "…" if isinstance(value, str) else None
            truncated.append(name)
    # So many short unknown members that the line stays long: only the known ones are shown.
    if len(members) > len(Sample.__struct_fields__) * 4:
        unknown = [name for name in members if name not in Sample.__struct_fields__]
        for name in unknown:
            del members[name]
        truncated = [name for name in truncated if name in members]
    return msgspec.json.encode({**members, "truncated": truncated})


def _is_structural(needle: bytes, metrics: Iterable[str]) -> bool:
    """Whether the needle may occur in names of members, numbers or punctuation, where a match does not count."""
    return (
        needle.decode() in _STRUCTURE
        or any(needle in name.lower().encode() for name in metrics)
        or _NUMERIC.issuperset(needle)
        or not any(byte > 127 or chr(byte).isalnum() for byte in needle)
    )


def _mentions(value: object, wanted: str) -> bool:
    values: list[object] = [value]
    while values:
        each = values.pop()
        if isinstance(each, str):
            if wanted in each.casefold():
                return True
        elif isinstance(each, dict):
            values.extend(cast("dict[str, object]", each).values())
        elif isinstance(each, list):
            values.extend(cast("list[object]", each))
    return False
