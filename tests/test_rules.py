from __future__ import annotations

import dataclasses
import random

import pytest

from bilin.rules import Outcome, is_solved, mean_score, round_to_digits, select_point
from bilin.spec import Point


def outcome(
    lr: float,
    seed: int = 0,
    *,
    solved: bool = False,
    accuracy: float | None = 0.5,
    loss: float | None = 0.1,
    is_done: bool = True,
) -> Outcome:
    return Outcome(Point(lr), seed, is_done, solved, accuracy, loss)


@pytest.mark.parametrize(
    ("accuracies", "solved"),
    [
        ([], False),
        ([1.0], False),
        ([1.0, 1.0], True),
        ([1.0, None, 1.0], False),
        ([0.5, 1.0, 1.0], True),
        ([1.0, 1.0, 0.999], False),
    ],
)
def test_solved_is_perfect_twice_running_at_the_end(accuracies: list[float | None], solved: bool) -> None:
    assert is_solved(accuracies) is solved


def test_a_point_with_a_pruned_seed_comes_last() -> None:
    paused = dataclasses.replace(outcome(1e-2, seed=1, is_done=False), has_result=False, paused_at=50)
    pruned = [outcome(1e-2, solved=True, accuracy=1.0), paused]
    whole = [outcome(1e-3, seed, accuracy=0.2) for seed in (0, 1)]
    assert select_point([*pruned, *whole]) == Point(1e-3)
    assert select_point(pruned) == Point(1e-2)


def test_most_seeds_solved_comes_first() -> None:
    twice = [outcome(1e-2, seed, solved=True, accuracy=0.1) for seed in (0, 1)]
    once = [outcome(1e-3, 0, solved=True, accuracy=1.0), outcome(1e-3, 1, accuracy=1.0)]
    assert select_point(twice + once) == Point(1e-2)


def test_then_the_mean_validation_accuracy() -> None:
    assert select_point([outcome(1e-2, accuracy=0.6), outcome(1e-3, accuracy=0.7)]) == Point(1e-3)


def test_a_cell_whose_trials_all_failed_selects_no_rate() -> None:
    failed = dataclasses.replace(outcome(1e-2, is_done=False), has_result=False)
    assert select_point([failed, failed]) is None
    diverged = outcome(3e-2, is_done=False)
    assert select_point([failed, diverged]) == Point(3e-2)


def test_then_the_training_loss() -> None:
    assert select_point([outcome(1e-2, loss=0.1), outcome(1e-3, loss=0.2)]) == Point(1e-2)


def test_then_the_smaller_rate() -> None:
    assert select_point([outcome(1e-2), outcome(1e-3)]) == Point(1e-3)


@pytest.mark.parametrize("accuracy", [0.9, None])
def test_a_trial_without_a_result_counts_as_the_worst(accuracy: float | None) -> None:
    diverged = outcome(1e-2, accuracy=accuracy, loss=0.0, is_done=False)
    assert select_point([diverged, outcome(1e-3, accuracy=0.0, loss=99.0)]) == Point(1e-3)


def test_without_outcomes_there_is_no_rate() -> None:
    assert select_point([]) is None


def test_the_order_of_the_outcomes_does_not_matter() -> None:
    outcomes = [outcome(lr, seed, accuracy=lr * 10 + seed / 7) for lr in (1e-2, 1e-3) for seed in range(5)]
    chosen = {select_point(random.Random(i).sample(outcomes, len(outcomes))) for i in range(20)}
    assert len(chosen) == 1


def test_a_search_is_told_the_mean_over_the_seeds() -> None:
    assert mean_score([outcome(1e-3, 0, accuracy=0.5), outcome(1e-3, 1, is_done=False)]) == 0.25


def test_rates_are_rounded_to_three_digits() -> None:
    assert round_to_digits(0.00123456) == 0.00123
    assert round_to_digits(round_to_digits(9.996e-5)) == round_to_digits(9.996e-5) == 1e-4
