from __future__ import annotations

import math
from collections.abc import Callable

from bilin.orchestrator.grid import Grid, WantedCell
from bilin.orchestrator.planning.search import Known, decide
from bilin.rules import Outcome

SAMPLED = "{log_uniform: [1e-5, 1e-2], trials: 12, round: 4}"
LISTED = "{choices: [1e-2, 1e-3, 1e-4], until_solved: true}"


def outcome(lr: float, seed: int, *, solved: bool = False, accuracy: float = 0.5) -> Outcome:
    return Outcome(lr, seed, is_done=True, solved=solved, validation_accuracy=accuracy, training_loss=0.1)


def known(rates: tuple[float, ...], seeds: tuple[int, ...]) -> dict[tuple[float, int], Outcome]:
    """Outcomes that are the better the closer a rate is to 1e-3."""
    return {(lr, seed): outcome(lr, seed, accuracy=1 - distance(lr)) for lr in rates for seed in seeds}


def lrs(wanted: WantedCell, known: Known) -> tuple[float, ...]:
    """The learning rates that are asked for, each on every seed."""
    asks = decide(wanted, known)
    found = tuple(dict.fromkeys(ask.lr for ask in asks))
    assert asks == tuple((lr, seed, wanted.cell.train.steps) for lr in found for seed in wanted.seeds)
    return found


def distance(lr: float) -> float:
    return abs(math.log10(lr) + 3) / 2


def cell(grid: Grid) -> WantedCell:
    return grid.cells[0]


def test_choices_are_all_tried_at_once(tiny: Callable[..., Grid]) -> None:
    assert lrs(cell(tiny()), {}) == (1e-2, 1e-3)


def test_until_solved_tries_the_next_rate_once_every_seed_has_failed_to_solve(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=LISTED, seeds="[0, 1]"))
    assert lrs(wanted, {}) == (1e-2,)
    one = {(1e-2, 0): outcome(1e-2, 0, solved=True)}
    assert lrs(wanted, one) == (1e-2,), "seed 1 is still to come"
    assert lrs(wanted, one | {(1e-2, 1): outcome(1e-2, 1)}) == (1e-2, 1e-3)


def test_until_solved_ends_with_the_rate_that_solved_every_seed(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=LISTED, seeds="[0, 1]"))
    solved = {(1e-2, seed): outcome(1e-2, seed, solved=True) for seed in (0, 1)}
    assert lrs(wanted, solved) == (1e-2,)


def test_log_uniform_asks_in_rounds(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=SAMPLED))
    first = lrs(wanted, {})
    assert len(first) == 4
    assert all(1e-5 <= lr <= 1e-2 for lr in first)
    assert lrs(wanted, known(first[:3], (0,))) == first, "a round is told when it is complete"
    second = lrs(wanted, known(first, (0,)))
    assert second[:4] == first
    assert 4 < len(second) <= 8


def test_log_uniform_repeats_whatever_the_order_of_the_outcomes(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=SAMPLED, seeds="[0, 1]"))
    asked = _to_the_end(wanted)
    outcomes = known(asked, wanted.seeds)
    assert lrs(wanted, dict(reversed(outcomes.items()))) == asked
    assert _to_the_end(wanted) == asked


def test_log_uniform_spends_its_budget_and_finds_the_better_rates(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=SAMPLED))
    asked = _to_the_end(wanted)
    assert len(asked) <= 12
    later = asked[4:]
    assert sum(map(distance, later)) / len(later) < sum(map(distance, asked[:4])) / 4


def test_different_cells_ask_different_rates(tiny: Callable[..., Grid]) -> None:
    first, second = tiny(rate=SAMPLED).cells
    assert lrs(first, {}) != lrs(second, {})


def test_sampled_rates_have_three_digits(tiny: Callable[..., Grid]) -> None:
    assert all(lr == float(f"{lr:.3g}") for lr in _to_the_end(cell(tiny(rate=SAMPLED))))


def _to_the_end(wanted: WantedCell) -> tuple[float, ...]:
    rates: tuple[float, ...] = ()
    while True:
        asked = lrs(wanted, known(rates, wanted.seeds))
        if asked == rates:
            return rates
        rates = asked
