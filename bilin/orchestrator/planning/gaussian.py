"""Learning rates to try next, by a Gaussian process over the logarithm of the rate.

The process has a Matérn kernel (ν = 5/2) [1]. Its length scale is not chosen: the answers of several are averaged, by
how well each explains the scores. The next rate is the one whose expected improvement over the best so far is the
greatest [2]. Rates of the same round have no scores yet: each counts as tried with the worst score so far, so that the
round spreads out ("constant liar") [3].

Sources:
    [1] Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.23 and 4.17
    [2] Jones, Schonlau and Welch, Efficient Global Optimization of Expensive Black-Box Functions, 1998, eq. 15
    [3] Ginsbourger, Le Riche and Carraro, Kriging is well-suited to parallelize optimization, 2010, section 2.2

`benchmarks/search.py` compares it with other searches. The only importer of numpy in the orchestrator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LENGTH_SCALES = (0.15, 0.25, 0.4, 0.7)
"""In decades: from rates a factor of 1.4 apart to rates a factor of 5 apart."""

NOISE = 1e-3
"""Variance of a score about the mean of its rate, as a share of the variance of the means."""

PRIOR_SD = 0.3
"""Standard deviation of the scores before any is known; scores lie between 0 and 1."""

PRIOR_WEIGHT = 4.0
"""How many scores `PRIOR_SD` is worth."""

DIGITS = 6
"""Improvements that agree in this many digits are equal: the last bits differ between machines."""

Floats = npt.NDArray[np.float64]

_erf = np.frompyfunc(math.erf, 1, 1)


def propose(scores: Mapping[float, float], candidates: Sequence[float], count: int) -> list[float]:
    """Return the candidates to try next, the most promising first.

    Args:
        scores: The score of each learning rate that was tried, between 0 and 1; at least one.
        candidates: Other learning rates; at least ``count`` of them.
        count: How many to return.
    """
    tried, values = np.log10(list(scores)), np.array(list(scores.values()))
    values = values - values.mean()
    fits = [_Fit.to_scores(length_scale, tried, values) for length_scale in LENGTH_SCALES]
    evidence = np.array([fit.log_evidence for fit in fits])
    weights = np.exp(evidence - evidence.max())
    free, proposed = list(candidates), list[float]()
    for _ in range(count):
        positions = np.log10(free)
        improvements = [fit.expected_improvement(tried, values, positions) for fit in fits]
        improvement = sum(weight * each for weight, each in zip(weights, improvements, strict=True))
        best = int(np.argmax(np.round(improvement / np.max(improvement), DIGITS)))  # the lowest of equals
        tried, values = np.append(tried, positions[best]), np.append(values, values.min())
        proposed.append(free.pop(best))
    return proposed


class _Fit:
    """A Gaussian process with one length scale.

    Attributes:
        log_evidence: How probable it makes the scores, up to a constant.
    """

    def __init__(self, length_scale: float, variance: float, log_evidence: float) -> None:
        self.log_evidence = log_evidence
        self._length_scale = length_scale
        self._variance = variance

    @classmethod
    def to_scores(cls, length_scale: float, tried: Floats, values: Floats) -> _Fit:
        """Fit the variance to the scores."""
        factor = np.linalg.cholesky(_covariance(tried, length_scale))
        whitened = np.linalg.solve(factor, values)
        squares = PRIOR_WEIGHT * PRIOR_SD**2 + float(whitened @ whitened)
        weight = PRIOR_WEIGHT + len(values)
        determinant = float(np.log(np.diagonal(factor)).sum())
        return cls(length_scale, squares / weight, -weight / 2 * math.log(squares) - determinant)

    def expected_improvement(self, tried: Floats, values: Floats, positions: Floats) -> Any:
        """Return by how much a score at each position is expected to exceed the best mean at a tried position."""
        covariance = _covariance(tried, self._length_scale)
        cross = _matern(tried[:, None] - positions, self._length_scale)
        solved = np.linalg.solve(covariance, np.column_stack([values, cross]))
        best = np.max(values - NOISE * solved[:, 0])  # the mean of the process where rates were tried
        means = cross.T @ solved[:, 0]
        variances = self._variance * np.maximum(1 - (cross * solved[:, 1:]).sum(axis=0), 1e-12)
        deviations = np.sqrt(variances)
        gaps = (means - best) / deviations
        density = np.exp(-(gaps**2) / 2) / math.sqrt(2 * math.pi)
        cumulative = (1 + _erf(gaps / math.sqrt(2)).astype(float)) / 2
        return deviations * (gaps * cumulative + density)


def _covariance(tried: Floats, length_scale: float) -> Floats:
    return _matern(tried[:, None] - tried, length_scale) + NOISE * np.eye(len(tried))


def _matern(distances: Floats, length_scale: float) -> Floats:
    scaled = math.sqrt(5) / length_scale * np.abs(distances)
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))
