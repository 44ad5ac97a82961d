from __future__ import annotations

import pytest

from bilin.orchestrator.grid import Choices, LogUniform
from tests.orchestrator.grid.grids import short, short_fault


def test_three_rates_are_tried_by_default() -> None:
    wanted = short().cells[0]
    assert wanted.learning_rate == Choices(choices=(1e-3, 1e-4, 1e-5), until_solved=False)
    assert wanted.max_trials == 3


def test_rates_keep_their_order() -> None:
    wanted = short("learning_rate: {choices: [1e-4, 0.001], until_solved: true}\nseeds: [3, 1]").cells[0]
    assert wanted.learning_rate == Choices(choices=(1e-4, 1e-3), until_solved=True)
    assert (wanted.seeds, wanted.max_trials) == ((3, 1), 4)


def test_rates_are_searched_between_two_bounds() -> None:
    wanted = short("learning_rate: {log_uniform: [1e-5, 1e-2], trials: 12}\nseeds: [0, 1]").cells[0]
    assert wanted.learning_rate == LogUniform(log_uniform=(1e-5, 1e-2), trials=12, round=4)
    assert wanted.max_trials == 24


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{choices: []}", "choices: found []; accepted: at least one learning rate"),
        ("{choices: 1e-3}", "choices: found 1e-3; accepted: a list of numbers above 0"),
        ("{choices: [1e-3, 0.001]}", "each learning rate once (0.001 is repeated)"),
        ("{choices: [0]}", "choices[0]: found 0; accepted: a number above 0"),
        ("{choices: [.nan]}", "choices[0]: found .nan"),
        ("{choices: [-.inf]}", "choices[0]: found -.inf"),
        ("{choices: [1e999]}", "choices[0]: found 1e999"),
        ("{choices: [-1e-3]}", "choices[0]: found -1e-3"),
        ("{choices: [1e-3], trials: 3}", 'unknown key "trials" (only with log_uniform)'),
        ("{choices: [1e-3], log_uniform: [1, 2]}", "found both choices and log_uniform"),
        (
            "{log_uniform: [1e-2, 1e-5], trials: 3}",
            "found [0.01, 1e-05]; accepted: the lowest learning rate, then the highest",
        ),
        ("{log_uniform: [0, 1], trials: 3}", "log_uniform[0]: found 0"),
        ("{log_uniform: [1e-3], trials: 3}", "found a list of 1; accepted: a list of 2 numbers above 0"),
        ("{log_uniform: [1e-3, 1]}", "trials: missing; accepted: a whole number of at least 1"),
        ("{trials: 3}", "log_uniform: missing"),
        ("{log_uniform: [1e-3, 1], trials: 3, round: 0}", "round: found 0"),
        ("{log_uniform: [1e-3, 1], trials: 3, until_solved: true}", '"until_solved" (only with choices)'),
        ("[1e-3]", "learning_rate: found a list of 1; accepted: a mapping"),
    ],
)
def test_rates_that_cannot_be_are_refused(written: str, message: str) -> None:
    assert message in short_fault(f"learning_rate: {written}")
