from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import optuna
import pytest

from bilin.orchestrator.grid import Grid, LogUniform, WantedCell, parse_grid
from bilin.orchestrator.planning import rounds
from bilin.orchestrator.planning.search import Key, Known, decide
from bilin.rules import Outcome
from bilin.spec import Point

SAMPLED = "{log_uniform: [1e-5, 1e-2], trials: 12, round: 4}"
LISTED = "{choices: [1e-2, 1e-3, 1e-4], until_solved: true}"


def outcome(lr: float, seed: int, *, solved: bool = False, accuracy: float = 0.5) -> Outcome:
    return Outcome(Point(lr), seed, is_done=True, solved=solved, validation_accuracy=accuracy, training_loss=0.1)


def known(rates: tuple[float, ...], seeds: tuple[int, ...]) -> dict[Key, Outcome]:
    """Outcomes that are the better the closer a rate is to 1e-3."""
    return {(Point(lr), seed): outcome(lr, seed, accuracy=1 - distance(lr)) for lr in rates for seed in seeds}


def lrs(wanted: WantedCell, known: Known, asked: Sequence[float] = ()) -> tuple[float, ...]:
    """The learning rates that are asked for, each on every seed."""
    asks = decide(wanted, known, [*map(Point, asked)])
    found = tuple(dict.fromkeys(ask.point.lr for ask in asks))
    assert [ask.key for ask in asks] == [(Point(lr), seed) for lr in found for seed in wanted.seeds]
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
    one = {(Point(1e-2), 0): outcome(1e-2, 0, solved=True)}
    assert lrs(wanted, one) == (1e-2,), "seed 1 is still to come"
    assert lrs(wanted, one | {(Point(1e-2), 1): outcome(1e-2, 1)}) == (1e-2, 1e-3)


def test_until_solved_ends_with_the_rate_that_solved_every_seed(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=LISTED, seeds="[0, 1]"))
    solved = {(Point(1e-2), seed): outcome(1e-2, seed, solved=True) for seed in (0, 1)}
    assert lrs(wanted, solved) == (1e-2,)


def test_until_solved_goes_on_as_soon_as_a_rate_cannot_solve_every_seed(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=LISTED, seeds="[0, 1]"))
    of_one_seed = {(Point(1e-2), 0): outcome(1e-2, 0), (Point(1e-3), 0): outcome(1e-3, 0, solved=True)}
    assert lrs(wanted, of_one_seed) == (1e-2, 1e-3), "one more seed runs the same rates"


def test_log_uniform_asks_in_rounds(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=SAMPLED))
    first = lrs(wanted, {})
    assert len(first) == 4
    assert lrs(wanted, known(first[:3], (0,)), first) == first, "a round is told when it is complete"
    second = lrs(wanted, known(first, (0,)), first)
    assert second[:4] == first
    assert len(second) == 8


def test_the_first_round_has_a_rate_in_each_part_of_the_scale(tiny: Callable[..., Grid]) -> None:
    parts = [int((math.log10(lr) + 5) / 3 * 4) for lr in lrs(cell(tiny(rate=SAMPLED)), {})]
    assert parts == [0, 1, 2, 3]


def test_a_round_asks_different_rates_that_no_round_has_asked(tiny: Callable[..., Grid]) -> None:
    asked = _to_the_end(cell(tiny(rate=SAMPLED)))
    assert len(set(asked)) == 12
    for first in (4, 8):
        among = sorted(asked[first : first + 4])
        assert all(after / before > 1.03 for before, after in pairwise(among))


@pytest.mark.parametrize("accuracy", [0.5, 1.0], ids=["at chance", "perfect"])
def test_rates_that_are_all_alike_are_spread_over_the_scale(tiny: Callable[..., Grid], accuracy: float) -> None:
    wanted = cell(tiny(rate=SAMPLED))
    asked = _to_the_end(wanted, lambda lr: outcome(lr, 0, accuracy=accuracy))
    gaps = [math.log10(after / before) for before, after in pairwise(sorted([1e-5, *asked, 1e-2]))]
    assert max(gaps) < 0.75


def test_the_loss_leads_where_the_accuracy_is_at_chance(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=SAMPLED))
    asked = _to_the_end(wanted, lambda lr: Outcome(Point(lr), 0, True, False, 0.5, training_loss=distance(lr)))
    assert min(map(distance, asked[4:])) < 0.1


def test_diverged_trials_do_not_lead_the_search_to_chance(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=SAMPLED))
    asked = _to_the_end(
        wanted,
        lambda lr: Outcome(Point(lr), 0, lr <= 2e-3, False, max(0.5, min(lr / 2e-3, 1.0)) if lr <= 2e-3 else None, 1.0),
    )
    assert any(1.2e-3 <= lr <= 2e-3 for lr in asked)


def test_log_uniform_repeats_whatever_the_order_of_the_outcomes(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate=SAMPLED, seeds="[0, 1]"))
    asked = _to_the_end(wanted)
    outcomes = known(asked, wanted.seeds)
    assert lrs(wanted, dict(reversed(outcomes.items())), asked) == asked
    assert _to_the_end(wanted) == asked


def test_log_uniform_spends_its_budget_and_finds_the_better_rates(tiny: Callable[..., Grid]) -> None:
    asked = _to_the_end(cell(tiny(rate=SAMPLED)))
    assert len(asked) == 12
    later = asked[4:]
    assert sum(map(distance, later)) / len(later) < sum(map(distance, asked[:4])) / 4


def test_different_cells_ask_different_rates(tiny: Callable[..., Grid]) -> None:
    first, second = tiny(rate=SAMPLED).cells
    assert lrs(first, {}) != lrs(second, {})


def test_sampled_rates_have_three_digits_and_lie_between_the_bounds(tiny: Callable[..., Grid]) -> None:
    asked = _to_the_end(cell(tiny(rate=SAMPLED)))
    assert all(lr == float(f"{lr:.3g}") and 1e-5 <= lr <= 1e-2 for lr in asked)


def test_one_more_seed_asks_the_same_rates(tiny: Callable[..., Grid]) -> None:
    asked = _to_the_end(cell(tiny(rate=SAMPLED)))
    more = cell(tiny(rate=SAMPLED, seeds="[0, 1]"))
    assert lrs(more, known(asked, (0,)), asked) == asked
    assert lrs(more, known(asked[:8], (0,)), asked[:8]) == asked[:8], "the next round waits for the new seed"


def test_fewer_trials_want_the_rates_that_were_asked_first_and_more_go_on(tiny: Callable[..., Grid]) -> None:
    asked = _to_the_end(cell(tiny(rate=SAMPLED)))
    fewer, more = (cell(tiny(rate=SAMPLED.replace("12", trials))) for trials in ("6", "14"))
    assert lrs(fewer, known(asked, (0,)), asked) == asked[:6]
    assert lrs(more, known(asked, (0,)), asked)[:12] == asked
    assert len(lrs(more, known(asked, (0,)), asked)) == 14


def test_narrower_bounds_replace_the_rates_outside_and_the_former_bounds_bring_them_back(
    tiny: Callable[..., Grid],
) -> None:
    asked = _to_the_end(cell(tiny(rate=SAMPLED)))
    narrow = cell(tiny(rate=SAMPLED.replace("1e-5", "5e-4")))
    kept = tuple(lr for lr in asked if lr >= 5e-4)
    found = lrs(narrow, known(asked, (0,)), asked)
    assert found[: len(kept)] == kept
    assert len(found) == min(12, len(kept) + 4)
    assert lrs(cell(tiny(rate=SAMPLED)), known(asked, (0,)), (*asked, *found)) == asked


def test_bounds_close_together_end_the_search_when_every_rate_was_tried(tiny: Callable[..., Grid]) -> None:
    wanted = cell(tiny(rate="{log_uniform: [1.0e-3, 1.05e-3], trials: 12, round: 4}"))
    assert sorted(_to_the_end(wanted)) == [1e-3, 1.01e-3, 1.02e-3, 1.03e-3, 1.04e-3, 1.05e-3]
    assert wanted.max_trials == 6


def _to_the_end(wanted: WantedCell, train: Callable[[float], Outcome] | None = None) -> tuple[float, ...]:
    """The learning rates of a search, in the order of asking, if each trial ends as `train` says."""
    asked: tuple[float, ...] = ()
    while True:
        outcomes = {(Point(lr), 0): train(lr) for lr in asked} if train else known(asked, wanted.seeds)
        further = lrs(wanted, outcomes, asked)
        if further == asked:
            return asked
        asked = further


@pytest.mark.parametrize("sampler", ["gaussian_process", "optuna_gp", "optuna_tpe"])
def test_every_sampler_repeats_and_comes_near_the_best_rate(tiny: Callable[..., Grid], sampler: str) -> None:
    wanted = cell(tiny(rate=SAMPLED.replace("}", f", sampler: {sampler}}}")))
    asked = _to_the_end(wanted)
    assert len(set(asked)) == 12
    assert min(map(distance, asked)) < 0.1
    rounds.next_round.cache_clear()
    assert _to_the_end(wanted) == asked


def test_a_search_leaves_the_log_level_of_optuna_as_it_was(tiny: Callable[..., Grid]) -> None:
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        rounds.next_round.cache_clear()
        _to_the_end(cell(tiny(rate=SAMPLED.replace("}", ", sampler: optuna_tpe}"))))
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)


def searching(*, trials: int = 16, decay: str = "{log_uniform: [1e-6, 1e-2]}") -> WantedCell:
    document = SEVERAL.replace("{rate}", f"{{log_uniform: [1e-5, 1e-2], trials: {trials}}}")
    return parse_grid(document.replace("{decay}", decay)).cells[0]


SEVERAL = """
name: tiny
tasks: [{name: modular_addition, m: 2}]
models: [{tier: real_diagonal}]
train: {steps: 20, weight_decay: {decay}, warmup_steps: {uniform: [0, 9]}}
learning_rate: {rate}
"""


def points_to_the_end(wanted: WantedCell, train: Callable[[Point], Outcome]) -> list[Point]:
    """The points of a search, in the order of asking, if each trial ends as `train` says."""
    asked: list[Point] = []
    while True:
        outcomes = {(point, 0): train(point) for point in asked}
        further = [ask.point for ask in decide(wanted, outcomes, asked)]
        if further == asked:
            return asked
        asked = further


def ridge(point: Point) -> Outcome:
    """Best where the product of the rate and the weight decay is 1e-7; warmup does not matter."""
    off = abs(math.log10(point.lr * dict(point.searched)["weight_decay"]) + 7) / 2
    return Outcome(point, 0, is_done=True, solved=False, validation_accuracy=max(1 - off, 0.0), training_loss=off)


def test_the_first_round_is_spread_over_every_searched_field() -> None:
    asked = [ask.point for ask in decide(searching(), {})]
    assert [point.searched[0][0] for point in asked] == ["warmup_steps"] * 4
    columns = [
        [(math.log10(point.lr) + 5) / 3 for point in asked],
        [(math.log10(dict(point.searched)["weight_decay"]) + 6) / 4 for point in asked],
    ]
    for shares in columns:
        assert sorted(int(share * 4) for share in shares) == [0, 1, 2, 3]
    assert [ask.point for ask in decide(searching(), {})] == asked


def test_a_search_of_several_fields_tries_different_points_and_finds_a_ridge() -> None:
    asked = points_to_the_end(searching(), ridge)
    assert len(set(asked)) == 16
    assert max(ridge(point).score for point in asked) > 0.95
    rounds.next_round.cache_clear()
    assert points_to_the_end(searching(), ridge) == asked


def test_more_trials_than_points_end_when_every_point_was_tried() -> None:
    wanted = searching(trials=99, decay="{uniform: [1e-3, 1e-3]}")
    assert wanted.ranges[1].values == (1e-3,)
    few = dataclasses.replace(wanted, learning_rate=LogUniform(log_uniform=(1e-3, 1.02e-3), trials=99))
    assert few.max_points == 3 * 10
    assert len(set(points_to_the_end(few, ridge))) == 30


def test_points_outside_of_narrower_bounds_are_not_wanted() -> None:
    asked = points_to_the_end(searching(), ridge)
    narrow = searching(decay="{log_uniform: [1e-4, 1e-2]}")
    kept = [point for point in asked if dict(point.searched)["weight_decay"] >= 1e-4]
    found = [ask.point for ask in decide(narrow, {(point, 0): ridge(point) for point in asked}, asked)]
    assert found[: len(kept)] == kept
    assert all(dict(point.searched)["weight_decay"] >= 1e-4 for point in found)


def test_samplers_of_optuna_search_several_fields() -> None:
    rates = LogUniform(log_uniform=(1e-5, 1e-2), trials=8, sampler="optuna_tpe")
    wanted = dataclasses.replace(searching(), learning_rate=rates)
    asked = points_to_the_end(wanted, ridge)
    assert len(set(asked)) == 8
    rounds.next_round.cache_clear()
    assert points_to_the_end(wanted, ridge) == asked
