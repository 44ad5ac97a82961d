"""The formulas behind the reported numbers, each with its source.

DuckDB computes some of them for each row: these are expressions of SQL. The others are functions of the values of
all seeds of a cell.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import statistics
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from bilin.errors import QueryError, unknown

CONFIDENCE = 0.95

_Z = 1.959963984540054
"""The normal distribution's quantile at (1 + CONFIDENCE) / 2."""

_NUM_RESAMPLES = 10_000

_MAX_TERMS, _STEPS = 2000, 8
"""Degrees of freedom up to which the t quantile is a series, and steps in which Newton's method finds it."""


class Statistic(StrEnum):
    """How the scores of several seeds become one number and an interval."""

    MEAN_RANGE = "mean-range"
    MEAN_SE = "mean-se"
    MEAN_STD = "mean-std"
    MEAN_CI = "mean-ci"
    MEAN_BOOTSTRAP = "mean-bootstrap"
    MEDIAN_MAD = "median-mad"
    BEST = "best"

    @classmethod
    def read(cls, name: str | None, default: Statistic) -> Statistic:
        """Return the statistic of a name.

        Raises:
            QueryError: There is none.
        """
        if name is not None and name not in list(cls):
            raise QueryError(unknown("statistic", name, cls))
        return default if name is None else cls(name)

    @property
    def number(self) -> str:
        """What the number is."""
        return self.partition("-")[0]

    @property
    def interval(self) -> str:
        """What the interval is; empty if there is none."""
        return _INTERVALS[self]

    @property
    def is_symmetric(self) -> bool:
        """Whether the number is always in the middle of the interval."""
        return self not in (Statistic.MEAN_RANGE, Statistic.MEAN_BOOTSTRAP)


DEFAULT_STATISTIC = Statistic.MEAN_RANGE
"""It says something for as few as two seeds, and never leaves the bounds of a score, as others do."""

_INTERVALS = {
    Statistic.MEAN_RANGE: "the lowest and highest",
    Statistic.MEAN_SE: "the standard error",
    Statistic.MEAN_STD: "the standard deviation",
    Statistic.MEAN_CI: "half the 95 % t interval",
    Statistic.MEAN_BOOTSTRAP: "the 95 % bootstrap interval",
    Statistic.MEDIAN_MAD: "the median absolute deviation",
    Statistic.BEST: "",
}


class Summary(NamedTuple):
    """The scores of several seeds as one number and an interval, whose ends are None for one score."""

    value: float
    low: float | None = None
    high: float | None = None


def summarize(scores: Sequence[float], statistic: Statistic = DEFAULT_STATISTIC) -> Summary:
    """Return one number and an interval for the scores of several seeds.

    Sources: Student, "The probable error of a mean", Biometrika 6 (1908) for the t interval; Efron, "Bootstrap methods:
    another look at the jackknife", Annals of Statistics 7 (1979) for the bootstrap, here the percentiles of the means.
    """
    count, mean = len(scores), math.fsum(scores) / len(scores)
    if statistic is Statistic.BEST:
        return Summary(max(scores))
    if statistic is Statistic.MEDIAN_MAD:
        center = statistics.median(scores)
        spread = statistics.median(abs(score - center) for score in scores)
        return Summary(center, center - spread, center + spread) if count > 1 else Summary(center)
    if count == 1:
        return Summary(mean)
    if statistic is Statistic.MEAN_RANGE:
        return Summary(mean, min(scores), max(scores))
    if statistic is Statistic.MEAN_BOOTSTRAP:
        return Summary(mean, *_bootstrap(scores))
    half = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (count - 1))
    if statistic is not Statistic.MEAN_STD:
        half /= math.sqrt(count)
    if statistic is Statistic.MEAN_CI:
        half *= _t_quantile(count - 1)
    return Summary(mean, mean - half, mean + half)


def difference(scores: Sequence[float], others: Sequence[float]) -> Summary:
    """Return the difference of two means and its 95 % interval; no interval unless both have several scores.

    Source: Welch, "The generalization of 'Student's' problem when several different population variances are
    involved", Biometrika 34 (1947).
    """
    value = math.fsum(scores) / len(scores) - math.fsum(others) / len(others)
    if min(len(scores), len(others)) < 2:
        return Summary(value)
    parts = [statistics.variance(each) / len(each) for each in (scores, others)]
    if not sum(parts):
        return Summary(value, value, value)
    terms = (part**2 / (len(each) - 1) for part, each in zip(parts, (scores, others), strict=True))
    half = _t_quantile(sum(parts) ** 2 / sum(terms)) * math.sqrt(sum(parts))
    return Summary(value, value - half, value + half)


@functools.cache
def _t_quantile(degrees: float) -> float:
    """Return the quantile of Student's t at (1 + CONFIDENCE) / 2.

    Whole degrees need no scipy, whose import takes longer than a query: a finite series gives the share of the
    distribution between -t and t, and Newton's method the angle, of tangent t / sqrt(degrees), at which it is
    CONFIDENCE. Both agree to 13 digits. Source: Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964),
    26.7.3 and 26.7.4.
    """
    if degrees > _MAX_TERMS or degrees != int(degrees):
        from scipy.special import stdtrit

        return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
    whole = int(degrees)
    odd = whole % 2
    scale = 2 / math.pi if odd else 1.0
    slope = scale * math.prod((n + 1) / n for n in range(2 - odd, whole - 1, 2))
    factors = (n / (n + 1) for n in range(1 + odd, whole - 2, 2))
    terms = [*itertools.accumulate(factors, operator.mul, initial=1.0)] if whole > 1 else []
    angle = math.atan(_Z / math.sqrt(whole))  # less than the angle looked for, which is then approached from one side
    for _ in range(_STEPS):
        cosine = math.cos(angle)
        series = math.sin(angle) * math.fsum(term * cosine ** (2 * n + odd) for n, term in enumerate(terms))
        angle += (CONFIDENCE - scale * (odd * angle + series)) / (slope * cosine ** (whole - 1))
    return math.sqrt(whole) * math.tan(angle)


def _bootstrap(scores: Sequence[float]) -> tuple[float, float]:
    import numpy as np

    means = np.random.default_rng(0).choice(scores, (_NUM_RESAMPLES, len(scores))).mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def scaled_sql(accuracy: str, num_classes: str) -> str:
    """Return the accuracy in SQL, scaled so that 0 is chance, one in `num_classes`, and 1 is perfect."""
    return f"(({accuracy}) - 1e0 / {num_classes}) / (1e0 - 1e0 / {num_classes})"


def wilson_sql(num_correct: str, num_sequences: str) -> tuple[str, str]:
    """Return both ends of the 95 % Wilson score interval of a share, in SQL.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
    the American Statistical Association 22 (1927).
    """
    k, n = num_correct, num_sequences
    z, z2 = f"{_Z!r}e0", f"{_Z**2!r}e0"  # without the exponent, DuckDB would read a DECIMAL
    centre = f"({k} + {z2} / 2)"
    spread = f"{z} * sqrt({k} * 1e0 * ({n} - {k}) / {n} + {z2} / 4)"
    low, high = (f"({centre} {sign} {spread}) / ({n} + {z2})" for sign in "-+")
    return f"greatest(0e0, {low})", f"least(1e0, {high})"
