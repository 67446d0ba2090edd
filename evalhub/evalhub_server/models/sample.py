"""Samples of a benchmark in responses: the sample set of a benchmark, and pages of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from evalhub_server.models.common import Json, Link

SampleSetState = Literal["pending", "stored", "none", "failed", "cut"]
Outcome = Literal["passed", "failed", "error", "unscored"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "error", "unscored")


class BadLine(Struct, kw_only=True, frozen=True):
    """A line of a sample file that is no sample. ``line`` counts from 1."""

    line: int
    reason: str


class ScoreDifference(Struct, kw_only=True, frozen=True):
    """The reported score of a benchmark where it differs from the mean of its samples. The reported one counts."""

    metric: str
    reported: float
    samples: float


class Artifact(Struct, kw_only=True, frozen=True):
    """A file that an adapter left beside its samples. ``digest`` is its SHA-256, in hexadecimal digits."""

    name: str
    bytes: int
    digest: str


class SampleSet(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The samples of a benchmark, and the artifacts of its adapter, as the server has stored them.

    ``state`` is pending while the server waits for the file or reads it; stored; none, if the adapter left no samples or
    the server keeps none; failed, if they could not be stored; cut, if a limit was reached, so that samples are missing.
    ``message`` gives the reason of the last three. ``attempt`` is the attempt of the benchmark that they belong to.

    ``count`` is the number of samples, ``bytes`` the size of the stored file and ``digest`` its SHA-256. ``metrics`` are
    the names of their metrics, and ``means`` the mean of each: repeats (epochs) of a sample are averaged first, and
    samples without a value are left out. ``outcomes`` counts samples by outcome; ``errors`` is the number with an error.
    ``tokens`` is the number of tokens of the samples whose ``usage`` has it, all samples together.
    ``item_set_hash`` is equal for sets with the same samples, inputs and targets. ``bad_lines`` counts lines that are no
    samples, ``duplicates`` those among them that repeat a sample and epoch, and ``problems`` has the first of them.
    ``score_difference`` is present if the mean of the primary metric differs from the reported score.
    """

    state: SampleSetState = "pending"
    attempt: int = 1
    message: str = ""
    count: int = 0
    bytes: int = 0
    digest: str = ""
    metrics: tuple[str, ...] = ()
    means: dict[str, float] = {}
    outcomes: dict[str, int] = {}
    errors: int = 0
    item_set_hash: str = ""
    tokens: int | None = None
    bad_lines: int = 0
    duplicates: int = 0
    problems: tuple[BadLine, ...] = ()
    score_difference: ScoreDifference | None = None
    artifacts: tuple[Artifact, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether there is a file of samples."""
        return self.state in ("stored", "cut")


class Sample(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One sample, as its adapter wrote it, with further members kept.

    The server adds ``outcome``, ``epoch`` where it is absent, and ``key_hash`` (a hash of input and target). In lists,
    long texts are shortened and ``truncated`` names the members that this concerns; request the sample by its id for the
    whole.
    """

    sample_id: str
    epoch: int = 0
    outcome: Outcome
    key_hash: str
    metrics: dict[str, float | None] = {}
    input: Any = None
    output: Any = None
    target: Any = None
    error: str | None = None
    error_kind: Literal["model", "infrastructure"] | None = None
    passed: bool | None = None
    answer: Any = None
    explanation: Any = None
    messages: Any = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Json | None = None
    latency_s: float | None = None
    ended_at: Any = None
    usage: Json | None = None
    truncated: tuple[str, ...] = ()


class TimelineBucket(Struct, kw_only=True, frozen=True):
    """The samples that ended in a span of time that begins at ``start``, by outcome."""

    start: datetime
    outcomes: dict[str, int] = {}


class SampleTimeline(Struct, kw_only=True, frozen=True):
    """When samples ended, by the times (``ended_at``) that their adapter wrote.

    ``buckets`` follow each other, each ``bucket_s`` seconds long, empty ones included. ``untimed`` is the number of samples without
    a usable time, which no bucket counts.
    """

    bucket_s: float
    buckets: tuple[TimelineBucket, ...] = ()
    untimed: int = 0


class FacetValue(Struct, kw_only=True, frozen=True):
    """A value and the number of samples, or of jobs, that have it."""

    value: str
    count: int


class Facet(Struct, kw_only=True, frozen=True):
    """The values of one facet, most frequent first, counted over the samples that all other filters select.

    ``values`` has at most 100; ``distinct`` is the number of all. A sample with several tags counts for each of them.
    """

    name: str
    distinct: int
    values: tuple[FacetValue, ...] = ()


class SamplePage(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One page of samples. ``first`` is the page's own URL; the last page has no ``next``.

    ``facets`` are the requested ones.
    """

    first: Link
    next: Link | None = None
    limit: int
    total_count: int
    items: Sequence[Sample]
    facets: tuple[Facet, ...] = ()


class ArtifactList(Struct, kw_only=True, frozen=True):
    """The artifacts of a benchmark, in the order of their names."""

    items: tuple[Artifact, ...]
