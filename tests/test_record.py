"""How a result travels."""

from __future__ import annotations

import pickle

import pytest

from bilin.record import Curve, CurvePoint, LengthResult, TrialResult


@pytest.mark.parametrize("curve", [(), (CurvePoint(10, None, 0.5, 0.75), CurvePoint(10, 50, 0.7, 0.5))])
def test_a_pickled_result_is_the_same(curve: tuple[CurvePoint, ...]) -> None:
    lengths = (LengthResult(10, 8, 16, 2),)
    result = TrialResult(trial_id="1", status="done", lengths=lengths, curve=Curve.of(curve), wall_s=1.5)
    copy = pickle.loads(pickle.dumps(result))
    assert copy == result
    assert (tuple(copy.curve), len(copy.curve)) == (curve, len(curve))
    assert all(isinstance(point, CurvePoint) for point in copy.curve)
