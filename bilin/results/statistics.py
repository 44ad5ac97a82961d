"""The formulas behind the reported numbers, each with its source.

DuckDB computes some of them for each row: these are expressions of SQL. The others are functions of the values of
all seeds of a cell.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 0.95

_Z = 1.959963984540054
"""The normal distribution's quantile at (1 + CONFIDENCE) / 2."""


class MeanInterval(NamedTuple):
    """A mean and its 95 % interval; the interval is None for one value."""

    mean: float
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Return the mean of a normal sample and its t interval, which does not exist for one value.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908).
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return MeanInterval(mean, None, None)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = _t_quantile(count - 1) * math.sqrt(variance / count)
    return MeanInterval(mean, mean - half, mean + half)


@functools.cache
def _t_quantile(degrees: int) -> float:
    from scipy.special import stdtrit  # half a second, and only for several seeds

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


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
