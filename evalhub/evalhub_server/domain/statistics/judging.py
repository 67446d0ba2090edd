"""Flags, verdict and wording of a comparison that has a difference, with the extremes of missing data."""

from __future__ import annotations

from msgspec.structs import replace

from evalhub_server.domain.statistics.evidence import DifferenceEvidence
from evalhub_server.domain.statistics.results import (
    BenchmarkComparison,
    Flag,
    MissingExtreme,
    MissingExtremes,
    Note,
)
from evalhub_server.domain.statistics.verdicts import verdict_flags, verdict_of
from evalhub_server.domain.statistics.wording import comparison_wording


def judge(
    result: BenchmarkComparison, *, incomplete: bool = False, claim_alpha: float | None = None
) -> BenchmarkComparison:
    """Set flags, verdict and wording of a comparison that has a difference.

    ``claim_alpha`` is the level of the claims ``improved`` and ``regressed`` where several benchmarks are compared; the
    adjusted p value and interval must be set. A claim must hold at both extremes of missing data.
    """
    difference = result.difference
    if difference is None or result.evidence is None:
        return replace(result, wording=comparison_wording(result))
    if incomplete or result.verdict == "incomplete":
        result = replace(result, verdict="incomplete", flags=())
        return replace(result, wording=comparison_wording(result))
    reasons = [each for each in result.reasons if each.code != "missing_data"]
    if reasons:
        result = replace(result, verdict="inconclusive", flags=())
        return replace(result, wording=comparison_wording(result))
    claim = difference.adjusted_interval
    flags = verdict_flags(
        difference.interval.low,
        difference.interval.high,
        result.margin,
        p=difference.p if difference.p_adjusted is None else difference.p_adjusted,
        alpha=result.alpha,
        claim=None if claim is None else (claim.low, claim.high),
    )
    missing = result.missing
    if missing is not None:
        missing = _extreme_flags(missing, result.alpha, claim_alpha, result.margin)
        flags, changed = _held(flags, missing)
        if changed:
            reasons.append(
                Note(
                    code="missing_data",
                    message=f"{missing.n} failed or missing samples could change the verdict",
                )
            )
    verdict = verdict_of(flags)
    result = replace(
        result,
        flags=flags,
        verdict=verdict,
        missing=missing,
        reasons=tuple(reasons) if verdict == "inconclusive" else (),
        warnings=result.warnings
        if verdict == "inconclusive"
        else result.warnings + tuple(each for each in reasons if each not in result.warnings),
    )
    return replace(result, wording=comparison_wording(result))


def _held(flags: tuple[Flag, ...], missing: MissingExtremes) -> tuple[tuple[Flag, ...], bool]:
    """The flags that hold at both extremes, and whether the extremes differ from the comparison."""
    if missing.worst is None or missing.best is None:
        return (), True
    held: list[Flag] = [flag for flag in flags if flag in missing.worst.flags and flag in missing.best.flags]
    return tuple(held), missing.verdict_differs or tuple(held) != flags


def _extreme_flags(
    missing: MissingExtremes, alpha: float, claim_alpha: float | None, margin: float | None
) -> MissingExtremes:
    """The extremes with their flags: intervals alone decide, there is no p value."""
    if missing.worst is None or missing.best is None:
        return missing
    worst, best = (
        extreme(each.evidence, alpha, claim_alpha, margin) for each in (missing.worst, missing.best)
    )
    return replace(
        missing, worst=worst, best=best, verdict_differs=verdict_of(worst.flags) != verdict_of(best.flags)
    )


def extreme(
    evidence: DifferenceEvidence, alpha: float, claim_alpha: float | None, margin: float | None
) -> MissingExtreme:
    """One extreme with its flags; ``claim_alpha`` is the level of ``improved`` and ``regressed``, if another."""
    low, high = evidence.limits(alpha)
    claim = None if claim_alpha is None else evidence.limits(claim_alpha)
    return MissingExtreme(
        estimate=evidence.estimate,
        low=low,
        high=high,
        flags=verdict_flags(low, high, margin, claim=claim),
        evidence=evidence,
    )
