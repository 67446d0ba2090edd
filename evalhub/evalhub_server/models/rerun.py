"""The request that repeats benchmarks of a job."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Selection = Literal["failed", "missing", "all"] | tuple[int, ...]
"""Which benchmarks of a job to repeat: a group of them, or their indexes."""


class RerunRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of ``POST …/jobs/{job_id}/reruns``.

    ``only`` selects the benchmarks to repeat: ``failed`` the failed and the cancelled ones, ``missing`` all without metrics
    (the same, and those that completed without any), ``all``, or a list of values of ``benchmark_index``.
    ``reuse_samples`` (default: true): adapters get the samples of the original, and may evaluate only what failed or is missing.
    """

    only: Selection
    reuse_samples: bool = True
