"""Compressed blocks of a sample file, which are read and decompressed one by one.

The data are gzip members that follow each other, each with whole lines, so ``gzip -d`` reads all of them as one file. The
index object has the table of the blocks in front of the index of samples.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from msgspec import Struct

from evalhub_server.domain.sample_index import CorruptIndex, IndexBuilder, SampleIndex, decode_index
from evalhub_server.domain.samples import parse_sample
from evalhub_server.models.common import PrimaryScore

BLOCK_BYTES = 32 * 1024
"""Uncompressed size of a block, unless one line is larger: about what one page of samples needs."""

_MAGIC = b"EVHSBLK1"
_GZIP = 31  # zlib's parameter for the format of gzip
_LEVEL = 6


class BlockTable(Struct, frozen=True):
    """First row and position of each block, and the number of rows and the size of the data at the end."""

    first_rows: array[int]
    offsets: array[int]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def block_of(self, row: int) -> int:
        return bisect_right(self.first_rows, row) - 1

    def span(self, block: int) -> tuple[int, int]:
        """(start, end) of a block in the data."""
        return self.offsets[block], self.offsets[block + 1]


class BlockWriter:
    """Writes lines as compressed blocks to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending = bytearray()
        self._rows = 0
        self._first_rows = array("Q", [0])
        self._offsets = array("Q", [0])

    def write(self, line: bytes) -> None:
        if self._pending and len(self._pending) + len(line) > BLOCK_BYTES:
            self._flush()
        self._pending += line
        self._rows += 1

    def finish(self) -> BlockTable:
        """Write what is left; returns the table."""
        self._flush()
        self._file.flush()
        return BlockTable(self._first_rows, self._offsets)

    def _flush(self) -> None:
        if self._pending:
            compressed = zlib.compress(self._pending, _LEVEL, wbits=_GZIP)
            self._file.write(compressed)
            self._offsets.append(self._offsets[-1] + len(compressed))
            self._first_rows.append(self._rows)
            self._pending.clear()


def decompressed(block: bytes | memoryview) -> bytes:
    """The lines of a block. Raises :class:`OSError` if it is damaged."""
    try:
        return zlib.decompress(block, wbits=_GZIP)
    except zlib.error as error:
        raise OSError(f"a block of samples is damaged: {error}") from None


def members(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Compressed size and lines of each block of the data. Raises :class:`OSError` if they are damaged."""
    decoder, size, pieces = zlib.decompressobj(_GZIP), 0, list[bytes]()
    for chunk in chunks:
        rest = bytes(chunk)
        while rest:
            try:
                pieces.append(decoder.decompress(rest))
            except zlib.error as error:
                raise OSError(f"the samples are damaged: {error}") from None
            size += len(rest) - len(decoder.unused_data)
            rest = decoder.unused_data
            if decoder.eof:
                yield size, b"".join(pieces)
                decoder, size, pieces = zlib.decompressobj(_GZIP), 0, []
    if size:
        raise OSError("the samples are damaged: their end is missing")


def rebuilt(chunks: Iterable[bytes], primary: PrimaryScore | None) -> tuple[BlockTable, SampleIndex]:
    """The table and the index of the data. Raises :class:`OSError` if they are damaged."""
    builder, first_rows, offsets = IndexBuilder(), array("Q", [0]), array("Q", [0])
    for size, content in members(chunks):
        for line in content.splitlines(keepends=True):
            builder.add(parse_sample(line.removesuffix(b"\n"), primary))
        first_rows.append(len(builder))
        offsets.append(offsets[-1] + size)
    return BlockTable(first_rows, offsets), builder.build()


def encode_index_object(table: BlockTable, index: SampleIndex) -> bytes:
    """The bytes that :func:`decode_index_object` reads."""
    columns = [_little(table.first_rows), _little(table.offsets)]
    return b"".join((_MAGIC, len(table).to_bytes(8, "little"), *columns, index.encode()))


def decode_index_object(data: bytes) -> tuple[BlockTable, SampleIndex]:
    """Raises :class:`CorruptIndex`."""
    start = len(_MAGIC) + 8
    size = (int.from_bytes(data[len(_MAGIC) : start], "little") + 1) * 8
    if not data.startswith(_MAGIC) or len(data) < start + 2 * size:
        raise CorruptIndex("no index of samples with a table of blocks")
    table = BlockTable(_column(data[start : start + size]), _column(data[start + size : start + 2 * size]))
    index = decode_index(data[start + 2 * size :])
    if table.first_rows[-1] != len(index):
        raise CorruptIndex("the table of blocks is of another index")
    return table, index


def _little(column: array[int]) -> bytes:
    if sys.byteorder == "big":  # pragma: no cover
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _column(data: bytes) -> array[int]:
    column: array[int] = array("Q", data)
    if sys.byteorder == "big":  # pragma: no cover
        column.byteswap()
    return column
