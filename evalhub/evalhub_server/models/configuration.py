"""Differences in the configuration of runs in responses."""

from __future__ import annotations

from msgspec import Struct


class ConfigurationDifference(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A setting with its values on both sides, as JSON; absent where a side does not have it.

    ``benchmarks`` has the names of the benchmarks that differ in it; empty for all that both sides have.
    """

    name: str
    baseline: str | None = None
    candidate: str | None = None
    benchmarks: tuple[str, ...] = ()
