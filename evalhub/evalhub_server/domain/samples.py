"""Rules for samples: the format of a line, the outcome of a sample, and the hashes that identify items.

A sample file is JSON lines. It is hostile input: each line is decoded, checked and encoded again, so that a stored file
holds valid JSON in UTF-8 only. A line that is no sample raises :class:`BadSample` and never affects the others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.record import BenchmarkRecord, PlannedBenchmark
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import Outcome, SampleSet, ScoreDifference

MAX_ID_CHARACTERS = 1024
MAX_TOKENS = 10**12
"""Larger numbers of tokens of one sample are not counted."""
MAX_TAGS = 100
MAX_DEPTH = 64
MAX_EPOCH = 2**31 - 1
HASH_BYTES = 16
TOLERANCE = 1e-6
"""Largest difference between a reported score and the mean of its samples that counts as equal."""

ADDED_MEMBERS = ("outcome", "key_hash")
"""Members that a line has in responses only; a line that has them is accepted, but their values are the server's."""

ERROR_KINDS = ("", "model", "infrastructure")
_ENCODER = msgspec.json.Encoder()
_SORTED_ENCODER = msgspec.json.Encoder(order="sorted")
_decode = msgspec.json.Decoder().decode


class BadSample(ValueError):
    """A line that is no sample; the text is the reason."""


class ParsedSample(Struct, frozen=True):
    """A valid line. ``line`` is its stored form, without a line feed; the hashes have :data:`HASH_BYTES` bytes.

    Members that the server adds when it shows a sample (:func:`shown_line`) are not stored, so a search does not find them.
    """

    sample_id: str
    epoch: int
    outcome: Outcome
    error_kind: str
    group: str
    tags: tuple[str, ...]
    metrics: Mapping[str, float]
    latency_s: float
    input_hash: bytes
    target_hash: bytes
    line: bytes
    tokens: int | None = None
    """The number of tokens in all; None if it was not reported."""

    @property
    def key_hash(self) -> bytes:
        return key_hash(self.input_hash, self.target_hash)


def parse_sample(line: bytes, primary: PrimaryScore | None = None) -> ParsedSample:
    """Check one line of a sample file and normalise its members ``sample_id`` and ``epoch``.

    ``primary`` is the benchmark's primary score, which decides the outcome of samples without ``passed``.

    Raises:
        BadSample: the line is no sample.
    """
    members = _object(line)
    sample_id = _sample_id(members.get("sample_id"))
    epoch = _epoch(members.get("epoch"))
    metrics = _metrics(members.get("metrics"))
    error = _text(members, "error")
    error_kind = _text(members, "error_kind")
    if error_kind not in ERROR_KINDS:
        raise BadSample(f"error_kind is {_shown(error_kind)}; use model or infrastructure")
    group = members.get("group")
    group = str(group) if isinstance(group, int) and not isinstance(group, bool) else _text(members, "group")
    for name in ("metadata", "usage"):
        if not isinstance(members.get(name), dict | None):
            raise BadSample(f"{name} is not an object")
    passed = _passed(members.get("passed"))
    outcome = outcome_of(error, passed, metrics, primary)
    input_hash, target_hash = _hash(members.get("input")), _hash(members.get("target"))
    for name in ADDED_MEMBERS:
        members.pop(name, None)
    members |= {"sample_id": sample_id, "epoch": epoch}
    return ParsedSample(
        sample_id=sample_id,
        epoch=epoch,
        outcome=outcome,
        error_kind=error_kind,
        group=group,
        tags=_tags(members.get("tags")),
        metrics=metrics,
        latency_s=_seconds(members.get("latency_s")),
        input_hash=input_hash,
        target_hash=target_hash,
        line=_ENCODER.encode(members),
        tokens=tokens_of(members.get("usage")),
    )


def tokens_of(usage: object) -> int | None:
    """The number of tokens of a sample in all; None if it was not reported."""
    numbers = cast("dict[str, object]", usage) if isinstance(usage, dict) else {}
    names = ("total_tokens",) if "total_tokens" in numbers else ("input_tokens", "output_tokens")
    values = [
        value
        for name in names
        if isinstance(value := numbers.get(name), int)
        and not isinstance(value, bool)
        and 0 <= value <= MAX_TOKENS
    ]
    return sum(values) if values else None


def shown_line(line: bytes, outcome: Outcome, key: bytes) -> bytes:
    """A stored line as responses contain it."""
    return b'%b,"outcome":"%b","key_hash":"%b"}' % (line[:-1], outcome.encode(), key.hex().encode())


def outcome_of(
    error: str, passed: bool | None, metrics: Mapping[str, float], primary: PrimaryScore | None
) -> Outcome:
    """The outcome of a sample: its error, else ``passed``, else the primary metric where that is exactly 1 or 0."""
    if error:
        return "error"
    if passed is None:
        value = metrics.get(primary.metric) if primary else None
        if primary is None or value not in (0.0, 1.0):
            return "unscored"
        passed = (value == 1.0) != primary.lower_is_better
    return "passed" if passed else "failed"


def key_hash(input_hash: bytes, target_hash: bytes) -> bytes:
    """The hash of an item: equal items have equal inputs and targets."""
    return hashlib.sha256(input_hash + target_hash).digest()[:HASH_BYTES]


def item_set_hash(items: Iterable[tuple[str, bytes]]) -> str:
    """The hash of a set of items, given as (sample id, key hash); order and repeats do not count."""
    digest = hashlib.sha256()
    for sample_id, key in sorted(set(items)):
        digest.update(f"{len(sample_id)}:{sample_id}".encode() + key)
    return digest.hexdigest()


def current_set(benchmark: BenchmarkRecord) -> SampleSet | None:
    """The sample set of the benchmark's current attempt."""
    samples = benchmark.samples
    return samples if samples is not None and samples.attempt == benchmark.attempt else None


def score_difference(
    planned: PlannedBenchmark, benchmark: BenchmarkRecord, samples: SampleSet
) -> ScoreDifference | None:
    """The difference between the reported primary score and the mean of the samples, if it exceeds :data:`TOLERANCE`."""
    primary = planned.primary_score
    if primary is None or benchmark.result is None:
        return None
    reported = benchmark.result.metrics.get(primary.metric)
    mean = samples.means.get(primary.metric)
    if isinstance(reported, bool) or not isinstance(reported, int | float) or mean is None:
        return None
    if abs(reported - mean) <= TOLERANCE:
        return None
    return ScoreDifference(metric=primary.metric, reported=float(reported), samples=mean)


def sample_set_view(planned: PlannedBenchmark, benchmark: BenchmarkRecord) -> SampleSet | None:
    """The sample set of a benchmark in responses."""
    samples = current_set(benchmark)
    if samples is None:
        return None
    difference = score_difference(planned, benchmark, samples)
    return samples if difference is None else replace(samples, score_difference=difference)


def _object(line: bytes) -> dict[str, Any]:
    try:
        members = _decode(line)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise BadSample(f"not valid JSON: {error}") from None
    if not isinstance(members, dict):
        raise BadSample("not a JSON object")
    members = cast("dict[str, Any]", members)
    # Only a line with this many brackets can be too deep, so few lines are walked through.
    if line.count(b"{") + line.count(b"[") > MAX_DEPTH and _depth(members) > MAX_DEPTH:
        raise _too_deep()
    return members


def _too_deep() -> BadSample:
    return BadSample(f"nested deeper than {MAX_DEPTH} levels")


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        containers = [
            cast("dict[str, object] | list[object]", each) for each in level if isinstance(each, dict | list)
        ]
        level = [item for each in containers for item in (each.values() if isinstance(each, dict) else each)]
    return depth


def _sample_id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise BadSample("sample_id is missing" if value in (None, "") else "sample_id is not a text")
    if len(value) > MAX_ID_CHARACTERS:
        raise BadSample(f"sample_id is longer than {MAX_ID_CHARACTERS} characters")
    if "\0" in value:
        raise BadSample("sample_id contains a NUL character")
    return value


def _epoch(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_EPOCH:
        raise BadSample(f"epoch is {_shown(value)}; use a whole number from 0 to {MAX_EPOCH}")
    return value


def _metrics(value: object) -> dict[str, float]:
    """The metrics that have a value; null means that a sample has none."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadSample("metrics is not an object")
    metrics: dict[str, float] = {}
    for name, number in cast("dict[str, object]", value).items():
        if number is None:
            continue
        if "\0" in name:
            raise BadSample("the name of a metric contains a NUL character")
        metrics[name] = _number(f"metrics.{_shortened(name)}", number)
    return metrics


def _number(name: str, value: object) -> float:
    if isinstance(value, bool | int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise BadSample(f"{name} is {_shown(value)}; use a number")


def _seconds(value: object) -> float:
    """A duration; NaN if there is none."""
    if value is None:
        return math.nan
    seconds = _number("latency_s", value)
    if seconds < 0:
        raise BadSample(f"latency_s is {_shown(value)}; use a number that is not negative")
    return seconds


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str | None):
        raise BadSample(f"{name} is {_shown(value)}; use a text")
    if value and name == "group" and "\0" in value:
        raise BadSample("group contains a NUL character")
    return value or ""


def _tags(value: object) -> tuple[str, ...]:
    """The tags, sorted, each once."""
    if value is None:
        return ()
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    tags = [item for item in items if isinstance(item, str)]
    if len(tags) < len(items):
        raise BadSample(f"tags is {_shown(cast('object', value))}; use a list of texts")
    if len(tags) > MAX_TAGS:
        raise BadSample(f"more than {MAX_TAGS} tags")
    return tuple(sorted(set(tags)))


def _passed(value: object) -> bool | None:
    if value is None or value in (0, 1):  # True and False, too
        return None if value is None else bool(value)
    raise BadSample(f"passed is {_shown(value)}; use true, false or null")


def _hash(value: object) -> bytes:
    """The hash of an input or a target; the order of keys in objects does not count."""
    return hashlib.sha256(_SORTED_ENCODER.encode(value)).digest()[:HASH_BYTES]


def _shown(value: object) -> str:
    return _shortened(_ENCODER.encode(value).decode())


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"
