"""The learning rate over the steps."""

from __future__ import annotations

import pytest

from bilin.spec import TrainSpec
from bilin.workers.training.step import lr_at


def rates(**fields):
    train = TrainSpec(steps=8, **fields)
    return [lr_at(train, 1.0, step) for step in range(train.steps)]


def test_a_constant_rate_stays():
    assert rates(schedule="constant") == [1.0] * 8


def test_a_linear_rate_falls_in_equal_parts():
    assert rates(schedule="linear") == pytest.approx([1 - step / 8 for step in range(8)])


def test_a_cosine_starts_at_the_rate_is_half_in_the_middle_and_ends_near_0():
    found = rates(schedule="cosine")
    assert (found[0], found[4]) == (1.0, pytest.approx(0.5))
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.05


def test_warmup_rises_to_the_rate_and_the_decay_starts_there():
    found = rates(schedule="cosine", warmup_steps=4)
    assert found[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert found[5] < 1.0


def test_a_warmup_longer_than_the_steps_never_reaches_the_rate():
    assert rates(warmup_steps=16)[-1] == 0.5
