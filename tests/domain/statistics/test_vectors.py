"""The published test vectors: each result of an independent implementation (SciPy, statsmodels, NumPy, enumeration)."""

from __future__ import annotations

import json
import random
import statistics as stdlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evalhub_server.domain.statistics import distributions as dist
from evalhub_server.domain.statistics.bootstrap import comparison_seed, percentile_bootstrap
from evalhub_server.domain.statistics.clusters import cluster_robust_mean
from evalhub_server.domain.statistics.evidence import BinaryPairs, BoundedPairs
from evalhub_server.domain.statistics.intervals import (
    augmented,
    bounded_mean_interval,
    clopper_pearson,
    missing_bounds_binary,
    nonmodal_count,
    t_limits,
    wilson,
)
from evalhub_server.domain.statistics.mover import mover, mover_p
from evalhub_server.domain.statistics.multiplicity import holm, holm_step_alphas
from evalhub_server.domain.statistics.paired_binary import (
    bonett_price,
    mcnemar,
    newcombe_paired,
    tango,
    tango_score,
)
from evalhub_server.domain.statistics.paired_real import sign_flip, t_test
from evalhub_server.domain.statistics.planning import (
    detectable_difference,
    min_n_for_margin,
    n_for_margin,
    n_for_superiority,
)
from evalhub_server.domain.statistics.ranks import rank_ranges
from evalhub_server.domain.statistics.repeats import decompose_repeats, pass_at_k
from evalhub_server.domain.statistics.unpaired import (
    from_standard_errors,
    newcombe_independent,
    welch,
    welch_se,
)
from evalhub_server.domain.statistics.verdicts import verdict_flags

VECTORS = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "statistics" / "vectors.json").read_text(encoding="utf-8")
)["vectors"]


def _limits(low: float, high: float, **others: object) -> dict[str, object]:
    return {"low": low, "high": high, **others}


def _bounded_mean(
    scores: list[float], lower_bound: float, upper_bound: float, confidence: float
) -> dict[str, object]:
    mean, sd = dist.mean_and_sd(scores)
    low, high, method = bounded_mean_interval(scores, lower_bound, upper_bound, 1 - confidence)
    return _limits(
        low,
        high,
        mean=mean,
        sd=sd,
        method=method.removesuffix(" t"),
        nonmodal=nonmodal_count(scores),
    )


def _t_interval(scores: list[float], confidence: float) -> dict[str, object]:
    mean, sd = dist.mean_and_sd(scores)
    return _limits(
        *t_limits(len(scores), mean, sd, 1 - confidence), mean=mean, sd=sd, se=sd / len(scores) ** 0.5
    )


def _clusters(scores: list[float], clusters: list[int], confidence: float = 0.95) -> dict[str, object]:
    result = cluster_robust_mean(scores, clusters)
    half = dist.t_quantile(1 - confidence, result.df) * result.cr2_se
    return _limits(
        result.mean - half,
        result.mean + half,
        mean=result.mean,
        clusters=result.clusters,
        naive_se=result.naive_se,
        cr0_se=result.cr0_se,
        cr1_se=result.cr1_se,
        cr2_se=result.cr2_se,
        df_bell_mccaffrey=result.df,
        design_effect=result.design_effect,
    )


def _repeats(samples: list[list[float]]) -> dict[str, object]:
    result = decompose_repeats(samples)
    return {
        "mean": result.mean,
        "sample_means": list(result.sample_means),
        "se": result.se,
        "var_of_sample_means": result.var_of_sample_means,
        "mean_within_variance": result.mean_within_variance,
        "between_variance": result.between_variance,
        "share_of_se2_from_sampling_noise": result.noise_share,
        "se_floor_if_infinite_repeats": result.se_floor,
    }


def _missing(correct: int, wrong: int, missing: int) -> dict[str, object]:
    low, high = missing_bounds_binary(correct, wrong, missing)
    n = correct + wrong + missing
    return {
        "excluded": correct / (correct + wrong),
        "as_wrong": correct / n,
        "worst": correct / n,
        "best": (correct + missing) / n,
        "low_worst": low,
        "high_best": high,
    }


def _mcnemar(b: int, c: int) -> dict[str, object]:
    result = mcnemar(b, c)
    return {
        "exact": result.exact,
        "midp": result.midp,
        "score": result.score,
        "one_sided_greater_exact": result.one_sided_exact,
        "one_sided_greater_midp": result.one_sided_midp,
    }


def _tango(b: int, c: int, n: int, confidence: float) -> dict[str, object]:
    return _limits(*tango(b, c, n, 1 - confidence), difference=(b - c) / n)


def _non_inferiority(b: int, c: int, n: int, margin: float) -> dict[str, object]:
    z = tango_score(b, c, n, -margin)
    low = tango(b, c, n)[0]
    p = dist.normal_upper_tail(z)
    return {"z": z, "p_one_sided": p, "low_95": low, "non_inferior_at_0.025": p <= 0.025}


def _newcombe_paired(a: int, b: int, c: int, d: int, confidence: float) -> dict[str, object]:
    return _limits(*newcombe_paired(a, b, c, d, 1 - confidence), difference=(b - c) / (a + b + c + d))


def _paired_t(first: list[float], second: list[float], confidence: float) -> dict[str, object]:
    differences = [x - y for x, y in zip(first, second, strict=True)]
    n, (mean, sd) = len(first), dist.mean_and_sd(differences)
    return _limits(
        *t_limits(n, mean, sd, 1 - confidence),
        difference=mean,
        sd=sd,
        t=mean / sd * n**0.5,
        df=n - 1,
        p=t_test(n, mean, sd),
        cohen_dz=mean / sd,
        signflip_exact_p=sign_flip(differences),
    )


def _bounded_difference(differences: list[float], R: float, confidence: float) -> dict[str, object]:  # noqa: N803
    n, (mean, sd) = len(differences), dist.mean_and_sd(differences)
    evidence = BoundedPairs(n=n, mean=mean, sd=sd, width=R)
    alpha = 1 - confidence
    t_low, t_high = t_limits(n, mean, sd, alpha)
    more = augmented(n, mean, sd, -R, R)
    more_low, more_high = t_limits(*more, alpha)
    return _limits(
        *evidence.limits(alpha),
        difference=mean,
        sd=sd,
        t_low=t_low,
        t_high=t_high,
        augmented_low=more_low,
        augmented_high=more_high,
        p_t=t_test(n, mean, sd),
        p_augmented=t_test(*more),
        p=evidence.p,
    )


def _welch(first: list[float], second: list[float], confidence: float) -> dict[str, object]:
    one, two = [(len(each), *dist.mean_and_sd(each)) for each in (first, second)]
    low, high, p = welch(one, two, 1 - confidence)
    se, df = welch_se(one, two)
    difference = one[1] - two[1]
    return _limits(low, high, difference=difference, t=difference / se, df=df, p=p)


def _aggregates(first: dict[str, float], second: dict[str, float], confidence: float) -> dict[str, object]:
    difference = first["score"] - second["score"]
    se = (first["stderr"] ** 2 + second["stderr"] ** 2) ** 0.5
    low, high, p = from_standard_errors(difference, se, 1 - confidence)
    return _limits(low, high, difference=difference, z=difference / se, p=p)


def _holm(p: list[float], alpha: float) -> dict[str, object]:
    adjusted = list(holm({str(index): value for index, value in enumerate(p)}).values())
    return {"adjusted": adjusted, "rejected": [value <= alpha for value in adjusted]}


def _pairs(benchmarks: list[dict[str, Any]]) -> dict[str, BinaryPairs]:
    return {each["name"]: BinaryPairs(n=each["n"], fixed=each["b"], broken=each["c"]) for each in benchmarks}


def _holm_step(benchmarks: list[dict[str, Any]], alpha: float) -> dict[str, object]:
    pairs = _pairs(benchmarks)
    p_values = {name: each.p for name, each in pairs.items()}
    adjusted, levels = holm(p_values), holm_step_alphas(p_values, alpha)
    results = []
    for name, each in pairs.items():
        step, bonferroni, single = (each.limits(a) for a in (levels[name], alpha / len(pairs), alpha))
        results.append(
            {
                "name": name,
                "p_used": p_values[name],
                "p_holm": adjusted[name],
                "rejected": adjusted[name] <= alpha,
                "holm_step_level": 1 - levels[name],
                "holm_step_low": step[0],
                "holm_step_high": step[1],
                "bonferroni_low": bonferroni[0],
                "bonferroni_high": bonferroni[1],
                "single_low": single[0],
                "single_high": single[1],
            }
        )
    return {"results": results}


def _suite_difference(
    benchmarks: list[dict[str, Any]], weights: list[float], confidence: float
) -> dict[str, object]:
    pairs = list(_pairs(benchmarks).values())
    estimates = [each.estimate for each in pairs]
    total, low, high = mover(weights, estimates, [each.limits(1 - confidence) for each in pairs])
    return _limits(
        low,
        high,
        difference=total,
        p_by_inversion=mover_p(weights, estimates, [each.limits for each in pairs]),
    )


def _suite_score(
    benchmarks: list[dict[str, Any]], weights: list[float], confidence: float
) -> dict[str, object]:
    estimates, limits = [], []
    for each in benchmarks:
        value = each["successes"] / each["n"]
        low, high = wilson(each["successes"], each["n"], 1 - confidence)
        estimates.append(1 - value if each["lower_is_better"] else value)
        limits.append((1 - high, 1 - low) if each["lower_is_better"] else (low, high))
    total, low, high = mover(weights, estimates, limits)
    return _limits(low, high, score=total)


def _detectable(n: int, discordance: float, alpha_two_sided: float, power: float) -> dict[str, object]:
    result = detectable_difference(n, discordance, alpha_two_sided, power)
    return {"mde": result.exact, "mde_simple": result.simple}


def _ranks(scores: dict[str, float], pairwise_p: dict[str, float], alpha: float) -> dict[str, object]:
    pairs = {(pair[0], pair[2]): p for pair, p in pairwise_p.items()}
    ranges, adjusted = rank_ranges(scores, pairs, alpha)
    return {
        "holm": {f"{first}-{second}": p for (first, second), p in adjusted.items()},
        "rank_low": {name: each[0] for name, each in ranges.items()},
        "rank_high": {name: each[1] for name, each in ranges.items()},
        "tied_with_best": [name for name, each in ranges.items() if each[0] == 1],
    }


def _bootstrap(
    values: list[float],
    statistic: str,
    seed: int,
    B: int,  # noqa: N803
    confidence: float,
) -> dict[str, object]:
    draw = random.Random(seed).random  # noqa: S311
    low, high = percentile_bootstrap(values, getattr(stdlib, statistic), seed, 1 - confidence, B)
    return _limits(low, high, first_resample_indices=[int(draw() * len(values)) for _ in range(len(values))])


METHODS: Mapping[str, Callable[..., Mapping[str, object]]] = {
    "norm_ppf": lambda p: {"z": dist.normal_quantile(p)},
    "norm_sf_relative": lambda z: {"p": dist.normal_upper_tail(z)},
    "t_upper_quantile": lambda upper_tail, df: {"t": dist.t_quantile(2 * upper_tail, df)},
    "t_two_sided_p": lambda t, df: {"p": dist.t_two_sided_p(t, df)},
    "betainc_regularised": lambda a, b, x: {"I": dist.beta_cdf(a, b, x)},
    "wilson": lambda successes, n, confidence: _limits(
        *wilson(successes, n, 1 - confidence), estimate=successes / n
    ),
    "clopper_pearson": lambda successes, n, confidence: _limits(
        *clopper_pearson(successes, n, 1 - confidence)
    ),
    "bounded_mean_interval": _bounded_mean,
    "t_interval": _t_interval,
    "cluster_robust_mean": _clusters,
    "repeats_decomposition": _repeats,
    "pass_at_k": lambda n, c, k: {"values": [pass_at_k(n, c, each) for each in k]},
    "missing_bounds_binary": _missing,
    "mcnemar": _mcnemar,
    "pooled_mcnemar": _mcnemar,
    "tango_paired_difference": _tango,
    "noninferiority_score_test": _non_inferiority,
    "newcombe_paired_method10": _newcombe_paired,
    "bonett_price_paired": lambda b, c, n, confidence: _limits(*bonett_price(b, c, n, 1 - confidence)),
    "paired_t": _paired_t,
    "signflip_exact": lambda differences: {"p_two_sided": sign_flip(differences)},
    "bounded_difference_interval": _bounded_difference,
    "newcombe_independent": lambda x1, n1, x2, n2, confidence: _limits(
        *newcombe_independent(x1, n1, x2, n2, 1 - confidence), difference=x1 / n1 - x2 / n2
    ),
    "welch_t": _welch,
    "unpaired_from_stderr": _aggregates,
    "holm": _holm,
    "holm_step_intervals": _holm_step,
    "suite_difference_mover": _suite_difference,
    "suite_score_mover": _suite_score,
    "n_superiority_paired_binary": lambda discordance, difference, alpha_two_sided, power: {
        "n": n_for_superiority(discordance, difference, alpha_two_sided, power)
    },
    "n_noninferiority_paired_binary": lambda discordance, margin, true_difference, alpha_one_sided, power: {
        "n": n_for_margin(discordance, margin, 2 * alpha_one_sided, power)
    },
    "n_min_noninferiority_no_discordance": lambda margin, alpha_one_sided: {
        "n": min_n_for_margin(margin, 2 * alpha_one_sided)
    },
    "mde_paired_binary": _detectable,
    "verdict_flags": lambda low, high, margin: {"flags": list(verdict_flags(low, high, margin))},
    "rank_intervals": _ranks,
    "percentile_bootstrap": _bootstrap,
    "seed": lambda text: {"seed_decimal_string": str(comparison_seed(*text.split("\n")[1:]))},
}


def _check(got: object, expected: object, tolerance: float, *, relative: bool, path: str) -> None:
    if isinstance(expected, dict):
        assert isinstance(got, Mapping), path
        for key, value in expected.items():
            if key == "phi":  # an intermediate result
                continue
            close = 1e-5 * abs(value) if key == "p_by_inversion" else tolerance
            _check(got[key], value, close, relative=relative, path=f"{path}.{key}")
    elif isinstance(expected, list):
        assert isinstance(got, list), path
        assert len(got) == len(expected), path
        for index, value in enumerate(expected):
            _check(got[index], value, tolerance, relative=relative, path=f"{path}[{index}]")
    elif isinstance(expected, str | bool):
        assert got == expected, path
    else:
        assert isinstance(got, int | float), path
        assert isinstance(expected, int | float)
        scale = abs(expected) if relative else max(1.0, abs(expected))
        assert abs(got - expected) <= tolerance * scale, f"{path}: {got!r} is not {expected!r}"


@pytest.mark.parametrize("vector", [pytest.param(each, id=each["id"]) for each in VECTORS])
def test_a_vector(vector: dict[str, Any]) -> None:
    got = partial(METHODS[vector["method"]], **vector["inputs"])()
    _check(
        got,
        vector["expected"],
        vector["tolerance"],
        relative=vector["method"] == "norm_sf_relative",
        path=vector["id"],
    )


def test_there_are_168_vectors_with_different_ids() -> None:
    assert len({each["id"] for each in VECTORS}) == len(VECTORS) == 168
