"""Estimates of time and tokens in responses."""

from __future__ import annotations

from msgspec import Struct


class BenchmarkEstimate(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a benchmark took in past jobs of this server, whatever the model: medians over finished benchmarks.

    ``duration_s`` is the median over ``runs`` runs, ``tokens`` that over the ``token_runs`` among them whose samples have numbers of
    tokens. Runs of a part of the examples (``num_examples``) count only where there are no others: ``limited``. Reruns that reuse
    samples never count.
    """

    provider_id: str
    benchmark_id: str
    runs: int = 0
    duration_s: float | None = None
    token_runs: int = 0
    tokens: int | None = None
    limited: bool = False


class Estimates(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Estimates of benchmarks in the order of the request, and their sums, over the ``known`` of them that ran before.

    They come from the newest ``jobs`` jobs that match. The sum of the durations is the time one after the other.
    """

    benchmarks: tuple[BenchmarkEstimate, ...]
    jobs: int
    known: int = 0
    duration_s: float | None = None
    known_tokens: int = 0
    tokens: int | None = None
