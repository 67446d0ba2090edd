"""The index of a sample file: one column for each property of samples that lists filter by and comparisons compute with.

Encoded, it is a JSON header and the columns as they lie in memory, so it is loaded without a loop over samples.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from evalhub_server.domain.samples import ERROR_KINDS, HASH_BYTES, ParsedSample, item_set_hash
from evalhub_server.models.sample import OUTCOMES, Outcome

MAX_METRICS = 64
"""Metrics with a column; the file has all."""

_MAGIC = b"EVHSIDX2"
_ALIGNMENT = 8
_CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_KIND_CODES = {kind: code for code, kind in enumerate(ERROR_KINDS)}


class CorruptIndex(ValueError):
    """These bytes are no index, or one of another version. It can be built again from the sample file."""


class SampleIndex(Struct, kw_only=True, frozen=True, eq=False):
    """The columns of a sample file. Row ``n`` is line ``n`` of the file, counted from 0.

    ``offsets`` has the position of each line in bytes, and the size of the file at its end. ``outcomes`` are codes, see
    :meth:`outcome`; ``error_kinds`` are positions in :data:`~evalhub_server.domain.samples.ERROR_KINDS`; ``groups`` are
    positions in ``group_names``, of which the first is the empty name; ``tags`` are positions in ``tag_sets``, of which the
    first is empty. ``latency_s`` and the columns in ``metrics`` are NaN
    where a sample has no value. The hashes are concatenated: ``key_hashes`` has 16 bytes for each sample, the hashes of
    input and target 8.
    """

    ids: list[str]
    offsets: array[int]
    epochs: array[int]
    outcomes: bytes
    error_kinds: bytes
    groups: array[int]
    group_names: list[str]
    tags: array[int]
    tag_sets: list[tuple[str, ...]]
    latency_s: array[float]
    metrics: dict[str, array[float]]
    key_hashes: bytes
    input_hashes: bytes
    target_hashes: bytes

    def __len__(self) -> int:
        return len(self.ids)

    def outcome(self, row: int) -> Outcome:
        return OUTCOMES[self.outcomes[row]]

    def status(self) -> list[Outcome]:
        """The outcomes of all samples."""
        return [OUTCOMES[code] for code in self.outcomes]

    def group(self) -> list[str]:
        """The groups of all samples; empty where a sample has none."""
        return [self.group_names[code] for code in self.groups]

    def key_hash(self) -> list[bytes]:
        """The key hashes of all samples."""
        return [self.key_hashes[at : at + HASH_BYTES] for at in range(0, len(self.key_hashes), HASH_BYTES)]

    def span(self, row: int) -> tuple[int, int]:
        """(start, end) of the line in the file, without its line feed."""
        return self.offsets[row], self.offsets[row + 1] - 1

    def find(self, sample_id: str, epoch: int) -> int | None:
        """The row of a sample, or None."""
        start = 0
        while True:
            try:
                row = self.ids.index(sample_id, start)
            except ValueError:
                return None
            if self.epochs[row] == epoch:
                return row
            start = row + 1

    def counts(self) -> dict[str, int]:
        """The number of samples by outcome, without outcomes that no sample has."""
        counted = Counter(self.outcomes)
        return {outcome: counted[code] for code, outcome in enumerate(OUTCOMES) if counted[code]}

    def mean(self, metric: str) -> float | None:
        """The mean of a metric over samples with a value, with the epochs of a sample averaged first.

        None if no sample has a value, or if the sum is too large for a number.
        """
        column = self.metrics[metric]
        if not any(self.epochs):
            values = [value for value in column if not math.isnan(value)]
        else:
            by_id: dict[str, list[float]] = {}
            for sample_id, value in zip(self.ids, column, strict=True):
                if not math.isnan(value):
                    by_id.setdefault(sample_id, []).append(value)
            values = [_mean(each) for each in by_id.values()]
        mean = _mean(values) if values else math.nan
        return mean if math.isfinite(mean) else None

    def item_set_hash(self) -> str:
        return item_set_hash(zip(self.ids, self.key_hash(), strict=True))

    def encode(self) -> bytes:
        """The bytes that :func:`decode_index` reads."""
        columns: list[bytes] = [
            "\0".join(self.ids).encode(),
            self.offsets.tobytes(),
            self.epochs.tobytes(),
            self.outcomes,
            self.error_kinds,
            self.groups.tobytes(),
            self.tags.tobytes(),
            self.latency_s.tobytes(),
            self.key_hashes,
            self.input_hashes,
            self.target_hashes,
            *(column.tobytes() for column in self.metrics.values()),
        ]
        header = _Header(
            count=len(self.ids),
            byteorder=sys.byteorder,
            sizes=[len(column) for column in columns],
            groups=self.group_names,
            tags=self.tag_sets,
            metrics=list(self.metrics),
        )
        text = msgspec.json.encode(header)
        parts = [
            _MAGIC,
            len(text).to_bytes(8, "little"),
            _padded(text),
            *(_padded(column) for column in columns),
        ]
        return b"".join(parts)


class _Header(Struct, kw_only=True, frozen=True):
    count: int
    byteorder: str
    sizes: list[int]
    groups: list[str]
    tags: list[tuple[str, ...]]
    metrics: list[str]


def decode_index(data: bytes) -> SampleIndex:
    """Raises :class:`CorruptIndex`."""
    start = len(_MAGIC) + 8
    end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    if not data.startswith(_MAGIC) or end > len(data):
        raise CorruptIndex("not an index of samples")
    try:
        header = msgspec.json.decode(data[start:end], type=_Header)
        columns: list[bytes] = []
        position = end + _padding(end - start)
        for size in header.sizes:
            columns.append(data[position : position + size])
            position += size + _padding(size)
        if position != len(data):
            raise CorruptIndex("an index of samples that was not written completely")
        return _from_columns(header, columns)
    except (msgspec.MsgspecError, ValueError, IndexError) as error:
        raise CorruptIndex(str(error)) from error


def _from_columns(header: _Header, columns: Sequence[bytes]) -> SampleIndex:
    swap = header.byteorder != sys.byteorder
    ids = columns[0].decode().split("\0") if header.count else []
    index = SampleIndex(
        ids=ids,
        offsets=_ints("Q", columns[1], swap=swap),
        epochs=_ints("i", columns[2], swap=swap),
        outcomes=columns[3],
        error_kinds=columns[4],
        groups=_ints("I", columns[5], swap=swap),
        group_names=header.groups,
        tags=_ints("I", columns[6], swap=swap),
        tag_sets=header.tags,
        latency_s=_floats(columns[7], swap=swap),
        key_hashes=columns[8],
        input_hashes=columns[9],
        target_hashes=columns[10],
        metrics={
            name: _floats(column, swap=swap)
            for name, column in zip(header.metrics, columns[11:], strict=True)
        },
    )
    columns_by_row = (ids, index.epochs, index.outcomes, index.groups, index.tags)
    lengths = {len(index.offsets) - 1, *map(len, columns_by_row)}
    if lengths != {header.count}:
        raise CorruptIndex("an index of samples with columns of different lengths")
    return index


def _ints(code: str, data: bytes, *, swap: bool) -> array[int]:
    column: array[int] = array(code, data)  # type: ignore[arg-type]  # a type code of integers
    if swap:
        column.byteswap()
    return column


def _floats(data: bytes, *, swap: bool) -> array[float]:
    column = array("d", data)
    if swap:
        column.byteswap()
    return column


def _padding(size: int) -> int:
    return -size % _ALIGNMENT


def _padded(data: bytes) -> bytes:
    return data + bytes(_padding(len(data)))


def _mean(values: Sequence[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.inf


class IndexBuilder:
    """Collects the columns of an index, sample by sample."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._offsets = array("Q", [0])
        self._epochs = array("i")
        self._outcomes = bytearray()
        self._error_kinds = bytearray()
        self._groups = array("I")
        self._group_codes: dict[str, int] = {"": 0}
        self._tags = array("I")
        self._tag_codes: dict[tuple[str, ...], int] = {(): 0}
        self._latency_s = array("d")
        self._metrics: dict[str, array[float]] = {}
        self._hashes = bytearray(), bytearray(), bytearray()
        self._seen: set[tuple[str, int]] = set()
        self.omitted: set[str] = set()
        """Up to :data:`MAX_METRICS` names of metrics without a column."""
        self.tokens: int | None = None
        """The number of tokens of all samples; None if no sample has one."""

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def size_bytes(self) -> int:
        """The size of the sample file so far."""
        return self._offsets[-1]

    def has(self, sample: ParsedSample) -> bool:
        """Whether there is a sample with this id and epoch."""
        return (sample.sample_id, sample.epoch) in self._seen

    def add(self, sample: ParsedSample) -> None:
        """Add a sample whose line, and a line feed, were written to the file."""
        self._seen.add((sample.sample_id, sample.epoch))
        if sample.tokens is not None:
            self.tokens = (self.tokens or 0) + sample.tokens
        self._ids.append(sample.sample_id)
        self._offsets.append(self._offsets[-1] + len(sample.line) + 1)
        self._epochs.append(sample.epoch)
        self._outcomes.append(_CODES[sample.outcome])
        self._error_kinds.append(_KIND_CODES[sample.error_kind])
        self._groups.append(self._group_codes.setdefault(sample.group, len(self._group_codes)))
        self._tags.append(self._tag_codes.setdefault(sample.tags, len(self._tag_codes)))
        self._latency_s.append(sample.latency_s)
        key, input_, target = self._hashes
        key += sample.key_hash
        input_ += sample.input_hash[:8]
        target += sample.target_hash[:8]
        rows = len(self._ids)
        for name, value in sample.metrics.items():
            if name not in self._metrics:
                if len(self._metrics) >= MAX_METRICS:
                    if len(self.omitted) < MAX_METRICS:
                        self.omitted.add(name)
                    continue
                self._metrics[name] = array("d", [math.nan]) * (rows - 1)
            self._metrics[name].append(value)
        for column in self._metrics.values():
            if len(column) < rows:
                column.append(math.nan)

    def build(self) -> SampleIndex:
        key, input_, target = self._hashes
        return SampleIndex(
            ids=self._ids,
            offsets=self._offsets,
            epochs=self._epochs,
            outcomes=bytes(self._outcomes),
            error_kinds=bytes(self._error_kinds),
            groups=self._groups,
            group_names=list(self._group_codes),
            tags=self._tags,
            tag_sets=list(self._tag_codes),
            latency_s=self._latency_s,
            metrics=self._metrics,
            key_hashes=bytes(key),
            input_hashes=bytes(input_),
            target_hashes=bytes(target),
        )
