"""Inputs of the statistics: the items of a run as columns, what identifies the run, and the options of a comparison.

Scores are in the metric's own unit, such as a share of right answers in [0, 1]. Margins, limits and differences have
the same unit: a margin of 0.02 is two percentage points for a metric in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from evalhub_server.models.common import Json

ItemStatus = Literal["ok", "model_error", "infrastructure_error", "missing"]
"""``model_error``: the model caused the failure (refusal, unparsable answer, time-out). ``infrastructure_error``: something
else did, or the cause is unknown. ``missing``: the item was expected, and there is no record of it."""

MissingPolicy = Literal["wrong", "exclude", "refuse"]
"""``wrong``: the item counts with the worst score of the metric's range. ``exclude``: the item is left out, permitted for
at most 1 % of the items. ``refuse``: no verdict."""

Share = Annotated[float, Meta(ge=1e-9, lt=1)]
Margin = Annotated[float, Meta(ge=0)]


INCOMPLETE_CODES = frozenset({"samples_pending", "samples_cut", "samples_failed"})
"""Codes of :attr:`Run.incomplete`."""


class RunItems(Struct, kw_only=True, frozen=True):
    """The items of one run of one benchmark, as columns of equal length: row *i* of each column is one sample and epoch.

    An absent column (None) has the default for every row. NaN and infinite scores count as infrastructure errors.
    """

    sample_ids: Sequence[str]
    """Ids of samples, unique within an epoch."""
    scores: Sequence[float | None]
    """Value of the metric per row; None without a score. ``True`` and ``False`` are 1 and 0."""
    epochs: Sequence[int] | None = None
    """Number of the repeat, from 0. Default: 0."""
    statuses: Sequence[ItemStatus] | None = None
    """Default: ``ok`` with a score, ``missing`` without. A score of a row that is not ``ok`` is ignored."""
    clusters: Sequence[str | None] | None = None
    """Sampled unit that the item belongs to, such as a passage or a document. Used only if the metric's ``groups`` is
    ``clusters``; an item without one is a cluster of its own."""
    key_hashes: Sequence[str | bytes | None] | None = None
    """Hash of the input and the target. Runs whose hashes of an item differ are not compared."""


class Note(Struct, kw_only=True, frozen=True):
    """A statement about a run or a result: a stable code and the text for users."""

    code: str
    message: str


class MetricRules(Struct, kw_only=True, frozen=True):
    """What is declared of a metric; nothing of it is inferred from data."""

    metric: str
    """Name of the metric in results."""
    low: float | None = None
    """Smallest possible value; None: unknown, the metric counts as unbounded."""
    high: float | None = None
    """Largest possible value; None: unknown, the metric counts as unbounded."""
    lower_is_better: bool = False
    aggregation: Literal["mean", "other"] = "mean"
    """``mean``: the score is the mean of the samples' scores. ``other``: it is not, and there is no interval or verdict."""
    groups: Literal["", "clusters", "strata"] = ""
    """``clusters``: groups of items are sampled units, so their items are correlated. ``strata``: groups are a fixed list,
    such as subjects, and do not widen the interval."""


class RunHeader(Struct, kw_only=True, frozen=True):
    """What identifies a run of a benchmark, and must agree between runs that are compared."""

    provider_id: str
    benchmark_id: str
    job_id: str = ""
    model_name: str = ""
    dataset_revision: str = ""
    """Commit or version of the test data; empty if unknown."""
    scorer: str = ""
    """Identity of the scorer or judge model; empty if unknown."""
    parameters: Json = {}
    """Parameters of the benchmark as it ran."""
    num_examples: int | None = None
    """Requested limit of samples; None: all."""
    n_expected: int | None = None
    """Number of samples that the run should have; None: as many as there are records."""
    reported_value: float | None = None
    """Score that the adapter reported; shown instead of the mean of the samples if they differ."""
    reported_stderr: float | None = None
    """Standard error that the adapter reported; used only without samples."""


class Run(Struct, kw_only=True, frozen=True):
    """One run of one benchmark. ``items`` is None if the run has no samples."""

    header: RunHeader
    rules: MetricRules
    items: RunItems | None = None
    problems: tuple[Note, ...] = ()
    """Faults of the samples that rule out every use of them, such as duplicates."""
    incomplete: tuple[Note, ...] = ()
    """Why samples are missing in a way that forbids a verdict; codes are those of :data:`INCOMPLETE_CODES`."""

    @property
    def name(self) -> str:
        """``provider_id/benchmark_id``."""
        return f"{self.header.provider_id}/{self.header.benchmark_id}"


class CompareOptions(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Options of a comparison. The defaults are those of a comparison without any."""

    alpha: Share = 0.05
    """Two-sided error probability; intervals have confidence ``1 - alpha``."""
    margin: Margin | None = None
    """Largest acceptable loss, in the metric's unit; enables the flags ``non_inferior``, ``inferior_beyond_margin`` and
    ``equivalent``."""
    exact: bool = False
    """Exact McNemar test instead of the larger of mid-p and score test."""
    paired_t: bool = False
    """Paired t alone for bounded metrics: narrower, but rare large losses that no sample shows are not excluded."""
    allow_parameters: tuple[str, ...] = ()
    """Parameters that may differ; a difference becomes a warning instead of a refusal."""
    allow_prompt_change: bool = False
    """The prompt is what is tested: inputs and targets of an item may differ."""
    allow_subset: bool = False
    """Compare runs of different ``num_examples`` on their common items."""
    model_errors: MissingPolicy = "wrong"
    infrastructure_errors: MissingPolicy = "exclude"
    """Also for missing items."""
    max_sample_ids: Annotated[int, Meta(ge=0)] = 100
    """Number of sample ids that the lists of changed items have at most."""


WeightKind = Literal["macro", "pooled", "declared"]
"""``macro``: equal weights. ``pooled``: the number of items. ``declared``: the weights of the collection, 0 or absent = 1."""


class SuiteBenchmark(Struct, kw_only=True, frozen=True):
    """One benchmark of a suite: the runs of both sides, None where a side has none."""

    name: str
    """Unique in the suite: ``provider_id/benchmark_id``, with a suffix where a job has a benchmark several times."""
    baseline: Run | None = None
    candidate: Run | None = None
    weight: Annotated[float, Meta(ge=0)] = 1.0
    """Declared weight; 0 counts as 1."""


class ModelRuns(Struct, kw_only=True, frozen=True):
    """The runs of one model for a leaderboard, by name of the benchmark."""

    model: str
    """Unique in the leaderboard."""
    job_id: str = ""
    chosen_of: int = 1
    """Number of runs of which this one was chosen for its score: p values and intervals are adjusted for the choice."""
    runs: dict[str, Run]
