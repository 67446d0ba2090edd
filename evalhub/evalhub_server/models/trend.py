"""Series of scores over time in responses."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from evalhub_server.models.configuration import ConfigurationDifference


class TrendPoint(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One result. ``stderr`` is the standard error that the adapter reported, ``n`` the number of samples, if they are known.

    ``low`` and ``high`` are the limits of the 95 % interval from the standard error, once the samples of the run are stored or known
    to be none; with ``sample_intervals``, that from the samples of results without a standard error. ``threshold`` is the one that the score was compared with. ``changed`` has the settings in which the run differs from
    that of the point before, its ``baseline``: a difference of the scores may be due to them.
    """

    job_id: str
    benchmark_index: int
    created_at: datetime
    value: float
    stderr: float | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    changed: tuple[ConfigurationDifference, ...] = ()


class TrendSeries(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The results of one model in one metric of a benchmark, oldest first."""

    provider_id: str
    benchmark_id: str
    metric: str
    lower_is_better: bool = False
    model_name: str = ""
    points: tuple[TrendPoint, ...]


class CollectionPoint(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The score of one job. ``threshold`` is the one that it was compared with.

    ``changed`` has what differs from the job of the point before: settings of benchmarks, which ``benchmarks`` it has, and ``weights``.
    """

    job_id: str
    created_at: datetime
    value: float
    threshold: float | None = None
    changed: tuple[ConfigurationDifference, ...] = ()


class CollectionSeries(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The scores of one model in a collection, oldest first: the weighted means over the benchmarks."""

    collection_id: str
    model_name: str = ""
    points: tuple[CollectionPoint, ...]


class Trends(Struct, kw_only=True, frozen=True):
    """The series of the newest jobs that match the filters, of benchmarks and of whole collections.

    ``jobs`` is the number of jobs that were read, and ``total_count`` that of all matching ones: if it is larger, older points
    are missing.
    """

    series: tuple[TrendSeries, ...]
    jobs: int
    total_count: int
    collections: tuple[CollectionSeries, ...] = ()
