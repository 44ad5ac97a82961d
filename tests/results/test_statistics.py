from __future__ import annotations

import duckdb
import pytest
from scipy import stats

from bilin.results.statistics import mean_interval, scaled_sql, wilson_sql


@pytest.mark.parametrize(("correct", "total"), [(0, 2048), (1, 10), (1024, 2048), (2047, 2048), (2048, 2048)])
def test_wilson_interval_is_that_of_scipy(correct, total):
    low, high = wilson_sql(str(correct), str(total))
    expected = stats.binomtest(correct, total).proportion_ci(method="wilson")
    assert duckdb.sql(f"SELECT {low}, {high}").fetchall()[0] == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("accuracy", "scaled"), [(0.2, 0.0), (1.0, 1.0), (0.6, 0.5), (0.0, -0.25)])
def test_scaled_accuracy_is_zero_at_chance(accuracy, scaled):
    (found,) = duckdb.sql(f"SELECT {scaled_sql(str(accuracy), '5')}").fetchall()[0]
    assert found == pytest.approx(scaled)


def test_interval_of_a_mean_is_that_of_scipy():
    values = [0.91, 0.97, 1.0, 0.88]
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((0.94, low, high))


def test_one_value_has_no_interval():
    found = mean_interval([0.5])
    assert (found.mean, found.low, found.high) == (0.5, None, None)
