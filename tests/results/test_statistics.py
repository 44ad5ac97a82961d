from __future__ import annotations

import duckdb
import numpy as np
import pytest
from scipy import stats

from bilin.results.statistics import Statistic, scaled_sql, summarize, wilson_sql


@pytest.mark.parametrize(("correct", "total"), [(0, 2048), (1, 10), (1024, 2048), (2047, 2048), (2048, 2048)])
def test_wilson_interval_is_that_of_scipy(correct, total):
    low, high = wilson_sql(str(correct), str(total))
    expected = stats.binomtest(correct, total).proportion_ci(method="wilson")
    assert duckdb.sql(f"SELECT {low}, {high}").fetchall()[0] == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("accuracy", "scaled"), [(0.2, 0.0), (1.0, 1.0), (0.6, 0.5), (0.0, -0.25)])
def test_scaled_accuracy_is_zero_at_chance(accuracy, scaled):
    (found,) = duckdb.sql(f"SELECT {scaled_sql(str(accuracy), '5')}").fetchall()[0]
    assert found == pytest.approx(scaled)


SCORES = [0.91, 0.97, 1.0, 0.88]


def test_the_t_interval_is_that_of_scipy():
    low, high = stats.t.interval(0.95, 3, loc=sum(SCORES) / 4, scale=stats.sem(SCORES))
    assert summarize(SCORES, Statistic.MEAN_CI) == pytest.approx((0.94, low, high))


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 99, 2000, 2001])
def test_the_t_interval_is_that_of_scipy_for_any_number_of_seeds(degrees):
    scores = [0.0] * degrees + [1.0]
    low, high = stats.t.interval(0.95, degrees, loc=sum(scores) / len(scores), scale=stats.sem(scores))
    assert summarize(scores, Statistic.MEAN_CI)[1:] == pytest.approx((low, high), rel=1e-10)


def test_the_bootstrap_interval_is_near_that_of_scipy_and_the_same_twice():
    expected = stats.bootstrap((SCORES,), np.mean, method="percentile", rng=1).confidence_interval
    found = summarize(SCORES, Statistic.MEAN_BOOTSTRAP)
    assert found == pytest.approx((0.94, *expected), abs=0.005)
    assert found == summarize(SCORES, Statistic.MEAN_BOOTSTRAP)


@pytest.mark.parametrize(
    ("statistic", "value", "spread"),
    [
        (Statistic.MEAN_SE, np.mean(SCORES), stats.sem(SCORES)),
        (Statistic.MEAN_STD, np.mean(SCORES), np.std(SCORES, ddof=1)),
        (Statistic.MEDIAN_MAD, np.median(SCORES), stats.median_abs_deviation(SCORES)),
    ],
)
def test_other_statistics_are_those_of_numpy_and_scipy(statistic, value, spread):
    assert summarize(SCORES, statistic) == pytest.approx((value, value - spread, value + spread))


@pytest.mark.parametrize("scores", [[-1.0, 1.0], [0.28, 1.0], [-0.3, -0.1, 0.9, 1.0, 1.0]])
def test_the_default_never_leaves_the_scores(scores):
    found = summarize(scores)
    assert (found.low, found.high) == (min(scores), max(scores))
    assert min(scores) <= found.value <= max(scores)


@pytest.mark.parametrize("statistic", Statistic)
def test_one_score_has_no_interval(statistic):
    assert summarize([0.5], statistic) == (0.5, None, None)


def test_the_best_has_no_interval():
    assert summarize(SCORES, Statistic.BEST) == (1.0, None, None)
