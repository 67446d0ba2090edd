"""The same results from SciPy and statsmodels, on data beyond the vectors."""

from __future__ import annotations

import random
from typing import Any

import pytest

from evalhub_server.domain.statistics.clusters import cluster_robust_mean
from evalhub_server.domain.statistics.distributions import (
    beta_cdf,
    beta_quantile,
    binomial_half_cdf,
    mean_and_sd,
    normal_upper_tail,
    t_lower_tail,
    t_quantile,
    t_two_sided_p,
)
from evalhub_server.domain.statistics.intervals import clopper_pearson, t_limits, wilson
from evalhub_server.domain.statistics.multiplicity import holm
from evalhub_server.domain.statistics.paired_binary import mcnemar, tango
from evalhub_server.domain.statistics.paired_real import sign_flip, t_lower_p, t_test
from evalhub_server.domain.statistics.unpaired import newcombe_independent, welch


class Library:
    """Imports a module when it is used first, not when tests are collected, which each process of the run does."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "pytest" in name:
            raise AttributeError(name)  # pytest, when it collects
        return getattr(pytest.importorskip(self._name), name)


numpy = Library("numpy")
stats = Library("scipy.stats")
optimize = Library("scipy.optimize")
special = Library("scipy.special")
regression = Library("statsmodels.regression.linear_model")
proportion = Library("statsmodels.stats.proportion")
contingency = Library("statsmodels.stats.contingency_tables")
multitest = Library("statsmodels.stats.multitest")

RANDOM = random.Random(20)  # noqa: S311
SAMPLES = [[RANDOM.gauss(0.1, 1) for _ in range(n)] for n in (2, 3, 10, 50, 400)]
TABLES = [
    (0, 0, 5),
    (3, 1, 10),
    (12, 25, 200),
    (500, 430, 5000),
    (2500, 2400, 100_000),
    (1, 0, 2),
    (30, 0, 30),
]


@pytest.mark.parametrize("df", [1, 1.5, 4.2, 30, 99, 101, 1318, 14041, 1e5])
def test_t(df: float) -> None:
    for alpha in (0.9, 0.5, 0.05, 0.01, 1e-4, 1e-9, 1e-15, 1e-60):
        assert t_quantile(alpha, df) == pytest.approx(stats.t.isf(alpha / 2, df), rel=1e-9)
    for t in (-3.0, -0.1, 0.0, 0.4, 2.0, 9.0):
        assert t_two_sided_p(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-8)
        assert t_lower_tail(t, df) == pytest.approx(stats.t.cdf(t, df), rel=1e-8)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (2, 3), (20, 0.5), (700, 500), (0.5, 7000), (20_000, 300)])
def test_beta(a: float, b: float) -> None:
    for p in (1e-6, 0.025, 0.3, 0.5, 0.975):
        x = beta_quantile(p, a, b)
        assert x == pytest.approx(special.betaincinv(a, b, p), rel=1e-7)
        assert beta_cdf(a, b, x) == pytest.approx(p, rel=1e-7)


@pytest.mark.parametrize("m", [1, 7, 100, 1999, 2000, 2001, 5000, 100_000])
def test_binomial(m: int) -> None:
    for share in (0.0, 0.4, 0.49, 0.5, 0.51, 0.9):
        k = int(share * m)
        assert binomial_half_cdf(k, m) == pytest.approx(stats.binom.cdf(k, m, 0.5), rel=1e-8, abs=1e-300)


def test_normal_tail() -> None:
    for z in (-5, -1, 0, 3, 12, 30):
        assert normal_upper_tail(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "n"), [(0, 1), (1, 1), (3, 7), (0, 40), (40, 40), (900, 1000), (14_000, 14_042)]
)
def test_proportions(x: int, n: int) -> None:
    for alpha in (0.1, 0.05, 0.001):
        assert wilson(x, n, alpha) == pytest.approx(
            proportion.proportion_confint(x, n, alpha, "wilson"), abs=1e-12
        )
        assert clopper_pearson(x, n, alpha) == pytest.approx(
            proportion.proportion_confint(x, n, alpha, "beta"), abs=1e-8
        )


@pytest.mark.parametrize(("b", "c", "n"), TABLES)
def test_mcnemar(b: int, c: int, n: int) -> None:
    result = mcnemar(b, c)
    expected = contingency.mcnemar([[n - b - c, b], [c, 0]], exact=True).pvalue
    assert result.exact == pytest.approx(expected, rel=1e-8)
    if b + c:
        score = contingency.mcnemar([[n - b - c, b], [c, 0]], exact=False, correction=False).pvalue
        assert result.score == pytest.approx(score, rel=1e-8)
        midp = expected - stats.binom.pmf(min(b, c), b + c, 0.5)
        assert result.midp == pytest.approx(min(1, midp if b != c else 1), rel=1e-7)


@pytest.mark.parametrize(("b", "c", "n"), TABLES[1:5])
def test_tango_by_maximum_likelihood(b: int, c: int, n: int) -> None:
    """The score statistic from a numerical restricted maximum of the likelihood equals the quantile at the limits."""
    z = stats.norm.isf(0.025)
    for limit, sign in zip(tango(b, c, n), (1, -1), strict=True):

        def loss(q: float, limit: float = limit) -> float:
            terms = ((b, q + limit), (c, q), (n - b - c, 1 - 2 * q - limit))
            return -sum(count * numpy.log(max(share, 1e-300)) for count, share in terms)

        low, high = max(0.0, -limit), (1 - limit) / 2
        q = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
        score = (b - c - n * limit) / numpy.sqrt(n * (2 * q + limit * (1 - limit)))
        assert score == pytest.approx(sign * z, rel=2e-4)


@pytest.mark.parametrize("sample", SAMPLES)
def test_means(sample: list[float]) -> None:
    mean, sd = mean_and_sd(sample)
    result = stats.ttest_1samp(sample, 0)
    assert t_limits(len(sample), mean, sd, 0.05) == pytest.approx(
        tuple(result.confidence_interval()), rel=1e-8
    )
    assert t_test(len(sample), mean, sd) == pytest.approx(result.pvalue, rel=1e-8)
    less = stats.ttest_1samp(sample, 0.2, alternative="less").pvalue
    assert t_lower_p(len(sample), mean, sd, 0.2) == pytest.approx(less, rel=1e-8)


def test_unpaired_differences() -> None:
    for first in SAMPLES:
        for second in SAMPLES:
            result = stats.ttest_ind(first, second, equal_var=False)
            low, high, p = welch((len(first), *mean_and_sd(first)), (len(second), *mean_and_sd(second)))
            assert (low, high) == pytest.approx(tuple(result.confidence_interval()), rel=1e-7)
            assert p == pytest.approx(result.pvalue, rel=1e-7)
    for x1, n1, x2, n2 in ((3, 10, 5, 12), (0, 20, 20, 20), (800, 1000, 790, 1000)):
        expected = proportion.confint_proportions_2indep(x1, n1, x2, n2, method="newcomb", compare="diff")
        assert newcombe_independent(x1, n1, x2, n2) == pytest.approx(expected, abs=1e-10)


def test_cluster_robust_errors() -> None:
    values = SAMPLES[4]
    clusters = [RANDOM.randrange(23) for _ in values]
    result = cluster_robust_mean(values, clusters)
    model = regression.OLS(values, numpy.ones(len(values)))
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": numpy.array(clusters), "use_correction": False})
    assert result.cr0_se == pytest.approx(fit.bse[0], rel=1e-9)
    assert (result.cr2_se, result.df) == pytest.approx(explicit_cr2(values, clusters), rel=1e-9)


def explicit_cr2(values: list[float], clusters: list[int]) -> tuple[float, float]:
    """CR2 and the degrees of freedom by their matrix definition."""
    y, groups, n = numpy.array(values), numpy.array(clusters), len(values)
    hat = numpy.full((n, n), 1 / n)
    residual = numpy.eye(n) - hat
    variance, vectors = 0.0, []
    for group in numpy.unique(groups):
        rows = numpy.where(groups == group)[0]
        block = residual[numpy.ix_(rows, rows)]
        share, basis = numpy.linalg.eigh(block)
        root = basis @ numpy.diag(share**-0.5) @ basis.T
        contrast = numpy.full(len(rows), 1 / n) @ root
        variance += float(contrast @ (y[rows] - y.mean())) ** 2
        vectors.append(residual[:, rows] @ contrast)
    gram = numpy.array(vectors) @ numpy.array(vectors).T
    return variance**0.5, float(numpy.trace(gram) ** 2 / (gram**2).sum())


def test_holm() -> None:
    p_values = [RANDOM.random() ** 3 for _ in range(12)]
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert list(holm({str(i): p for i, p in enumerate(p_values)}).values()) == pytest.approx(list(expected))


def test_sign_flips() -> None:
    differences = [round(value, 2) for value in SAMPLES[2]]
    result = stats.permutation_test(
        (differences,), numpy.sum, permutation_type="samples", n_resamples=numpy.inf, alternative="two-sided"
    )
    assert sign_flip(differences) == pytest.approx(result.pvalue, abs=1e-12)
