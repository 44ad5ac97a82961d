"""Points to try next, by a Gaussian process over the logarithm of the learning rate, and over other searched fields.

The process has a Matérn kernel (ν = 5/2) [1], with a length scale for each field. Instead of choosing length scales, it
averages over several, weighted by how well each explains the scores. A long one fits a field that matters little. The
next point is the one whose expected improvement over the best so far is the greatest [2]. Points of the same round have
no scores yet: each counts as tried with the worst score so far, so that the round spreads out ("constant liar") [3].

Sources:
    [1] Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.23 and 4.17
    [2] Jones, Schonlau and Welch, Efficient Global Optimization of Expensive Black-Box Functions, 1998, eq. 15
    [3] Ginsbourger, Le Riche and Carraro, Kriging is well-suited to parallelize optimization, 2010, section 2.2

`benchmarks/search.py` compares it with other searches. The only importer of numpy in the orchestrator.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bilin.orchestrator.grid import Range

LENGTH_SCALES = (0.15, 0.25, 0.4, 0.7)
"""Of the learning rate, in decades: from rates a factor of 1.4 apart to rates a factor of 5 apart."""

FIELD_LENGTH_SCALES = (0.5, 1.5, 6.0)
"""Of each other field, in decades; with the last one, it hardly matters."""

UNIFORM_DECADES = 2.0
"""How many decades a range counts as that is not logarithmic."""

MAX_FITS = 24
"""The greatest number of combinations of length scales."""

NOISE = 1e-3
"""Variance of a score about the mean of its point, as a share of the variance of the means."""

PRIOR_SD = 0.3
"""Standard deviation of the scores before any is known; scores lie between 0 and 1."""

PRIOR_WEIGHT = 4.0
"""How many scores `PRIOR_SD` is worth."""

DIGITS = 6
"""Improvements that agree in this many digits are equal: the last bits differ between machines."""

Floats = npt.NDArray[np.float64]

_erf = np.frompyfunc(math.erf, 1, 1)


def propose(
    ranges: Sequence[Range],
    tried_points: Sequence[Sequence[float]],
    scores: Sequence[float],
    candidates: Sequence[Sequence[float]],
    count: int,
) -> list[int]:
    """Return the positions of the candidates to try next, the most promising first.

    Args:
        ranges: Those of the learning rate and of the other searched fields.
        tried_points: Points that were tried, at least one: a value for each range.
        scores: Their scores, between 0 and 1.
        candidates: Other points; at least ``count`` of them.
        count: How many to return.
    """
    tried, values = _positions(ranges, tried_points), np.array(scores)
    values = values - values.mean()
    fits = [_Fit.to_scores(np.array(scales), tried, values) for scales in _length_scales(len(ranges))]
    evidence = np.array([fit.log_evidence for fit in fits])
    weights = np.exp(evidence - evidence.max())
    positions, free, proposed = _positions(ranges, candidates), list(range(len(candidates))), list[int]()
    for _ in range(count):
        improvements = [fit.expected_improvement(tried, values, positions[free]) for fit in fits]
        improvement = sum(weight * each for weight, each in zip(weights, improvements, strict=True))
        best = int(np.argmax(np.round(improvement / np.max(improvement), DIGITS)))  # the first of equals
        tried, values = np.vstack([tried, positions[free[best]]]), np.append(values, values.min())
        proposed.append(free.pop(best))
    return proposed


def _positions(ranges: Sequence[Range], points: Sequence[Sequence[float]]) -> Floats:
    """Return points in decades, each a row."""
    columns = []
    for range_, values in zip(ranges, zip(*points, strict=True), strict=True):
        if range_.scale == "log_uniform":
            columns.append(np.log10(values))
        else:
            columns.append(UNIFORM_DECADES * (np.array(values) - range_.low) / (range_.high - range_.low or 1.0))
    return np.column_stack(columns)


def _length_scales(num_fields: int) -> Sequence[tuple[float, ...]]:
    combinations = list(itertools.product(LENGTH_SCALES, *[FIELD_LENGTH_SCALES] * (num_fields - 1)))
    return combinations[:: -(-len(combinations) // MAX_FITS)]


class _Fit:
    """A Gaussian process with one length scale for each field.

    Attributes:
        log_evidence: How probable it makes the scores, up to a constant.
    """

    def __init__(self, length_scales: Floats, variance: float, log_evidence: float) -> None:
        self.log_evidence = log_evidence
        self._length_scales = length_scales
        self._variance = variance

    @classmethod
    def to_scores(cls, length_scales: Floats, tried: Floats, values: Floats) -> _Fit:
        """Fit the variance to the scores."""
        factor = np.linalg.cholesky(_covariance(tried, length_scales))
        whitened = np.linalg.solve(factor, values)
        squares = PRIOR_WEIGHT * PRIOR_SD**2 + float(whitened @ whitened)
        weight = PRIOR_WEIGHT + len(values)
        determinant = float(np.log(np.diagonal(factor)).sum())
        return cls(length_scales, squares / weight, -weight / 2 * math.log(squares) - determinant)

    def expected_improvement(self, tried: Floats, values: Floats, positions: Floats) -> Any:
        """Return by how much a score at each position is expected to exceed the best mean at a tried position."""
        covariance = _covariance(tried, self._length_scales)
        cross = _matern(tried, positions, self._length_scales)
        solved = np.linalg.solve(covariance, np.column_stack([values, cross]))
        best = np.max(values - NOISE * solved[:, 0])  # the mean of the process where points were tried
        means = cross.T @ solved[:, 0]
        variances = self._variance * np.maximum(1 - (cross * solved[:, 1:]).sum(axis=0), 1e-12)
        deviations = np.sqrt(variances)
        gaps = (means - best) / deviations
        density = np.exp(-(gaps**2) / 2) / math.sqrt(2 * math.pi)
        cumulative = (1 + _erf(gaps / math.sqrt(2)).astype(float)) / 2
        return deviations * (gaps * cumulative + density)


def _covariance(tried: Floats, length_scales: Floats) -> Floats:
    return _matern(tried, tried, length_scales) + NOISE * np.eye(len(tried))


def _matern(tried: Floats, others: Floats, length_scales: Floats) -> Floats:
    gaps = math.sqrt(5) / length_scales * (tried[:, None] - others)
    scaled = np.sqrt((gaps**2).sum(axis=-1))
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))
