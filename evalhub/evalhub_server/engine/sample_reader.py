"""Reader of a stored sample file: lines by row, search, and the index, which is cached."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from msgspec import Struct

from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_query import Rows
from evalhub_server.domain.samples import shown_line
from evalhub_server.models.sample import Sample

BLOCK_BYTES = 256 * 1024
"""How much is searched at once: it fits into the processor's cache, where lower-casing is fast."""

WHOLE_LINE_BYTES = 16 * 1024
"""Lines up to this size are whole in lists."""

PREVIEW_CHARACTERS = 1000
_STRUCTURE = " ".join([*Sample.__struct_fields__, "role content name type text true false null"])
_NUMERIC = frozenset(b"0123456789.+-e")


class SampleFile(Struct, frozen=True):
    """A stored sample file with its index. The methods read the file: call them in a thread."""

    path: Path
    index: SampleIndex

    def lines(self, rows: Iterable[int]) -> Iterator[bytes]:
        """The lines of the rows as responses contain them."""
        with self.path.open("rb") as file:
            for row in rows:
                yield self._shown(file, row)

    def previews(self, rows: Iterable[int]) -> list[bytes]:
        """Like :meth:`lines`, with long members shortened and named in ``truncated``."""
        return [line if len(line) <= WHOLE_LINE_BYTES else _preview(line) for line in self.lines(rows)]

    def search(self, text: str, rows: Rows) -> Collection[int]:
        """Those of the rows whose texts contain ``text``, ASCII letters regardless of case."""
        needle = msgspec.json.encode(text)[1:-1].lower()
        found = self._containing(needle, rows)
        if _is_structural(needle, self.index.metrics):
            wanted = text.casefold()
            with self.path.open("rb") as file:
                return [row for row in found if _mentions(msgspec.json.decode(self._line(file, row)), wanted)]
        return found

    def _containing(self, needle: bytes, rows: Rows) -> list[int]:
        if len(rows) < len(self.index) // 4:
            with self.path.open("rb") as file:
                return [row for row in rows if needle in self._line(file, row).lower()]
        offsets, found = self.index.offsets, list[int]()
        with self.path.open("rb", buffering=0) as file:
            first = 0
            while first < len(self.index):
                # As many whole lines as fit into a block, but at least one.
                end = max(bisect_right(offsets, offsets[first] + BLOCK_BYTES) - 1, first + 1)
                block = file.read(offsets[end] - offsets[first]).lower()
                position = block.find(needle)
                while position >= 0:
                    row = bisect_right(offsets, offsets[first] + position) - 1
                    found.append(row)
                    position = block.find(needle, offsets[row + 1] - offsets[first])
                first = end
        if len(rows) < len(self.index):
            wanted = set(rows)
            return [row for row in found if row in wanted]
        return found

    def _shown(self, file: BinaryIO, row: int) -> bytes:
        start = row * 16
        key = self.index.key_hashes[start : start + 16]
        return shown_line(self._line(file, row), self.index.outcome(row), key)

    def _line(self, file: BinaryIO, row: int) -> bytes:
        start, end = self.index.span(row)
        file.seek(start)
        return file.read(end - start)


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


class IndexCache:
    """The most recently used indexes, up to a total number of samples."""

    def __init__(self, max_samples: int = 500_000) -> None:
        self._max_samples = max_samples
        self._indexes: OrderedDict[Path, SampleIndex] = OrderedDict()

    def get(self, path: Path) -> SampleIndex | None:
        index = self._indexes.get(path)
        if index is not None:
            self._indexes.move_to_end(path)
        return index

    def put(self, path: Path, index: SampleIndex) -> None:
        self._indexes[path] = index
        total = sum(len(each) for each in self._indexes.values())
        while total > self._max_samples and len(self._indexes) > 1:
            total -= len(self._indexes.popitem(last=False)[1])

    def forget(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._indexes.pop(path, None)
