"""Flags and verdicts from an interval of a difference and a margin."""

from __future__ import annotations

from evalhub_server.domain.statistics.results import Flag, Verdict


def verdict_flags(
    low: float,
    high: float,
    margin: float | None = None,
    *,
    p: float | None = None,
    alpha: float = 0.05,
    claim: tuple[float, float] | None = None,
) -> tuple[Flag, ...]:
    """The flags of a difference with interval [low, high]; all inequalities are strict.

    ``claim`` is the interval of the claims ``improved`` and ``regressed`` where it is another one: adjusted for several
    benchmarks, beside its adjusted ``p``. Without ``p`` the interval alone decides.
    """
    claim_low, claim_high = claim or (low, high)
    significant = p is None or p <= alpha
    flags: list[Flag] = []
    if significant and claim_low > 0:
        flags.append("improved")
    if significant and claim_high < 0:
        flags.append("regressed")
    if margin is not None:
        if low > -margin:
            flags.append("non_inferior")
        if high < -margin:
            flags.append("inferior_beyond_margin")
        if low > -margin and high < margin:
            flags.append("equivalent")
    return tuple(flags)


def verdict_of(flags: tuple[Flag, ...]) -> Verdict:
    """The one verdict that the flags amount to, the strongest claim first."""
    if "inferior_beyond_margin" in flags:
        return "worse_beyond_margin"
    if "regressed" in flags:
        return "worse_within_margin" if "non_inferior" in flags else "worse"
    if "improved" in flags:
        return "better"
    if "equivalent" in flags:
        return "equivalent"
    if "non_inferior" in flags:
        return "not_worse"
    return "inconclusive"
