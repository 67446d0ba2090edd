"""Normal, t, beta and binomial distributions, and a bracketing root finder, on the standard library.

Relative accuracy is 1e-8 or better, for tails as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

SMALLEST = 5e-324
_STANDARD = NormalDist()
_EXACT_BINOMIAL_MAX = 2000


def normal_upper_tail(z: float) -> float:
    """P(Z > z); accurate far out in the tail, where ``1 - cdf`` is 0."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def normal_quantile(p: float) -> float:
    """The z with P(Z <= z) = p."""
    return _STANDARD.inv_cdf(p)


def two_sided_z(alpha: float) -> float:
    """The z with P(|Z| > z) = alpha: 1.959964 for 0.05."""
    return -_STANDARD.inv_cdf(alpha / 2)


def beta_cdf(a: float, b: float, x: float, complement: float | None = None) -> float:
    """The regularised incomplete beta function I_x(a, b).

    ``complement`` is 1 - x, where the caller has it without rounding. Continued fraction, modified Lentz (Press et al.,
    "Numerical Recipes", 6.4).

    Raises:
        ArithmeticError: the continued fraction did not converge.
    """
    y = 1 - x if complement is None else complement
    if x <= 0:
        return 0.0
    if y <= 0:
        return 1.0
    if x >= (a + 1) / (a + b + 2):
        return 1 - _beta_fraction(b, a, y, x)
    return _beta_fraction(a, b, x, y)


def _beta_fraction(a: float, b: float, x: float, y: float) -> float:
    """I_x(a, b) for x below the mean."""
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y))
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 1000 + 20 * math.isqrt(int(max(a, b)) + 1)):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + numerator * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + numerator / c
            c = c if abs(c) > tiny else tiny
            result *= c * d
        if abs(c * d - 1) < 3e-16:
            return front * result / a
    raise ArithmeticError(f"the incomplete beta function did not converge for a={a}, b={b}, x={x}")


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = p."""
    return find_root(lambda x: beta_cdf(a, b, x) - p, 0.0, 1.0)


def t_two_sided_p(t: float, df: float) -> float:
    """P(|T| > |t|) with ``df`` degrees of freedom, which may be fractional."""
    if math.isinf(t):
        return 0.0
    square = t * t
    return beta_cdf(df / 2, 0.5, df / (df + square), square / (df + square))


def t_lower_tail(t: float, df: float) -> float:
    """P(T < t)."""
    half = t_two_sided_p(t, df) / 2
    return half if t < 0 else 1 - half


@lru_cache(maxsize=4096)
def t_quantile(alpha: float, df: float) -> float:
    """The t with P(|T| > t) = alpha; ``df`` may be fractional."""
    z = two_sided_z(alpha)
    guess = _cornish_fisher(z, df)
    if df >= 100 and z * z < 0.06 * df:  # the expansion's relative error is below 1e-9
        return guess
    target = math.log(alpha)

    def excess(t: float) -> float:
        return math.log(max(t_two_sided_p(t, df), SMALLEST)) - target

    low, high = z, max(guess, z) * 1.001 + 1e-9  # heavier tails than the normal distribution: t > z
    while excess(high) > 0:
        low, high = high, 2 * high
    return find_root(excess, low, high)


def _cornish_fisher(z: float, df: float) -> float:
    """Quantile of t from the normal one (Abramowitz and Stegun 26.7.5)."""
    square = z * z
    terms = (
        (square + 1) / 4,
        ((5 * square + 16) * square + 3) / 96,
        (((3 * square + 19) * square + 17) * square - 15) / 384,
        ((((79 * square + 776) * square + 1482) * square - 1920) * square - 945) / 92160,
    )
    return z * (1 + math.fsum(term / df**power for power, term in enumerate(terms, 1)))


def binomial_half_cdf(k: int, m: int) -> float:
    """P(X <= k) for X ~ Bin(m, 1/2); exact up to m = 2000."""
    if k < 0:
        return 0.0
    if k >= m:
        return 1.0
    if 2 * k >= m:
        return 1 - binomial_half_cdf(m - k - 1, m)
    if m <= _EXACT_BINOMIAL_MAX:
        term = total = 1
        for i in range(k):
            term = term * (m - i) // (i + 1)
            total += term
        return total / (1 << m)
    term = total = 1.0
    for i in range(k, 0, -1):
        term *= i / (m - i + 1)
        total += term
        if term < 1e-18 * total:
            break
    return total * binomial_half_pmf(k, m)


def binomial_half_pmf(k: int, m: int) -> float:
    """P(X = k) for X ~ Bin(m, 1/2)."""
    if m <= _EXACT_BINOMIAL_MAX:
        return math.comb(m, k) / (1 << m)
    return math.exp(math.lgamma(m + 1) - math.lgamma(k + 1) - math.lgamma(m - k + 1) - m * math.log(2))


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (divisor n - 1) of at least two values; independent of their order."""
    mean = math.fsum(values) / len(values)
    squares = math.fsum([(value - mean) * (value - mean) for value in values])
    return mean, math.sqrt(squares / (len(values) - 1))


def find_root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of a continuous function in a bracket, to the last digits of a double.

    Chandrupatla (1997), "A new hybrid quadratic/bisection algorithm": as safe as bisection, at a fraction of its steps.
    The function may have any signs at the ends if one of them is a root; a bracket without a change of sign returns
    the end with the smaller absolute value.
    """
    a, b = high, low
    fa, fb = function(a), function(b)
    if fa == 0 or fb == 0 or (fa > 0) == (fb > 0):
        return a if abs(fa) < abs(fb) else b
    c, fc = a, fa
    share = 0.5
    for _ in range(200):
        x = a + share * (b - a)
        fx = function(x)
        if (fx > 0) == (fa > 0):
            c, fc = a, fa
        else:
            c, b, fc, fb = b, a, fb, fa
        a, fa = x, fx
        best = a if abs(fa) < abs(fb) else b
        tolerance = 2e-16 * abs(best) + 1e-300
        limit = tolerance / abs(b - a) if b != a else 1.0
        if limit > 0.5 or fa == 0:
            return best
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        if phi * phi < xi and (1 - phi) ** 2 < 1 - xi:
            share = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        else:
            share = 0.5
        share = min(1 - limit, max(limit, share))
    return a if abs(fa) < abs(fb) else b
