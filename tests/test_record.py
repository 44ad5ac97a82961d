"""How a result travels."""

from __future__ import annotations

import pickle

import pytest

from bilin.record import CurvePoint, LengthResult, TrialResult


@pytest.mark.parametrize("curve", [(), (CurvePoint(10, None, 0.5, 0.75), CurvePoint(10, 50, 0.7, 0.5))])
def test_a_pickled_result_is_the_same(curve: tuple[CurvePoint, ...]) -> None:
    result = TrialResult(trial_id="1", status="done", lengths=(LengthResult(10, 8, 16, 2),), curve=curve, wall_s=1.5)
    copy = pickle.loads(pickle.dumps(result))
    assert copy == result
    assert all(isinstance(point, CurvePoint) for point in copy.curve)
