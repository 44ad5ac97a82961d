"""Searched fields: how a grid says them, and what it refuses."""

from __future__ import annotations

import pytest

from bilin.orchestrator.grid import Range, parse_grid, resolved, restore_grid
from tests.orchestrator.grid.grids import fault, faults, short, short_fault

SEARCH = "learning_rate: {log_uniform: [1e-4, 1e-2], trials: 16}\n"
TWO = """
name: short
tasks: [{{name: modular_addition, m: 2}}]
models: [{first}, {second}]
learning_rate: {{log_uniform: [1e-4, 1e-2], trials: 16}}
"""


def test_a_field_is_searched_where_its_value_would_stand() -> None:
    grid = short(SEARCH + "train: {weight_decay: {log_uniform: [1e-6, 1e-2]}, warmup_steps: {uniform: [0, 10]}}")
    (cell,) = grid.cells
    assert cell.ranges == (
        Range(name="warmup_steps", low=0, high=10, scale="uniform", is_integer=True),
        Range(name="weight_decay", low=1e-6, high=1e-2),
    )
    assert cell.cell.searched == ("warmup_steps", "weight_decay")
    assert cell.max_trials == 16
    assert restore_grid(resolved(grid)).cells == grid.cells


def test_the_identity_has_which_fields_are_searched_but_not_their_bounds() -> None:
    texts = ("{log_uniform: [1e-6, 1e-2]}", "{log_uniform: [1e-4, 1e-3]}", "{uniform: [0, 1]}", "1e-6", "0")
    ids = [short(f"{SEARCH}train: {{weight_decay: {text}}}").cells[0].cell_id for text in texts]
    assert ids[0] == ids[1] == ids[2]
    assert len({*ids[2:]}) == 3


def test_values_have_three_digits_and_whole_fields_whole_values() -> None:
    decay = Range(name="weight_decay", low=1e-6, high=1e-2)
    assert (decay.values[0], decay.values[-1]) == (1e-6, 1e-2)
    assert all(value == float(f"{value:.3g}") for value in decay.values)
    assert Range(name="hidden", low=1, high=6, scale="uniform", is_integer=True).values == (1, 2, 3, 4, 5, 6)
    assert Range(name="hidden", low=1, high=6, is_integer=True).values == (1, 2, 3, 4, 5, 6)
    assert Range(name="scale", low=0.5, high=0.5, scale="uniform").values == (0.5,)


@pytest.mark.parametrize("scale", ["uniform", "log_uniform"])
def test_a_share_of_a_range_is_one_of_its_values(scale: str) -> None:
    range_ = Range(name="init_scale", low=0.5, high=2.0, scale=scale)
    shares = [range_.at(number / 97) for number in range(98)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.5, 2.0)
    assert set(shares) <= set(range_.values)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("weight_decay: {log_uniform: [1e-2, 1e-6]}", "accepted: the lowest value, then the highest"),
        (
            "weight_decay: {log_uniform: [0, 1]}",
            "weight_decay.log_uniform[0]: found 0; accepted in log_uniform: numbers",
        ),
        ("weight_decay: {uniform: [-1, 1]}", "weight_decay.uniform[0]: found -1; accepted: a number of at least 0"),
        ("weight_decay: {uniform: [1]}", "accepted: {log_uniform: [low, high]} or {uniform: [low, high]}"),
        (
            "weight_decay: {uniform: [0, 1], trials: 3}",
            "accepted: {log_uniform: [low, high]} or {uniform: [low, high]}",
        ),
        ("weight_decay: {normal: [0, 1]}", "weight_decay: found a mapping; accepted: a number of at least 0"),
        ("warmup_steps: {uniform: [0, 1.5]}", "uniform[1]: found 1.5; accepted: a whole number"),
        ("schedule: {uniform: [0, 1]}", "schedule cannot be searched (only numbers are); accepted: one of constant"),
        ("steps: {uniform: [1, 9]}", "steps cannot be searched (it sets the end of a trial)"),
        ("lengths: {uniform: [2, 9]}", "lengths cannot be searched (only numbers are)"),
        ("weight_decay: [{uniform: [0, 1]}, 0]", "can be searched); accepted: a number of at least 0"),
        ("{steps: 9, warmup_steps: {uniform: [0, 20]}}", "warmup_steps: found 9; accepted: fewer than steps (9)"),
    ],
)
def test_ranges_that_cannot_be_are_refused(train: str, message: str) -> None:
    assert message in short_fault(f"{SEARCH}train: {train if train.startswith('{') else f'{{{train}}}'}")


@pytest.mark.parametrize("rate", ["", "learning_rate: {choices: [1e-3]}\n"])
def test_listed_rates_with_a_range_are_refused_with_what_to_write(rate: str) -> None:
    message = short_fault(f"{rate}train: {{weight_decay: {{uniform: [0, 1]}}}}")
    assert message.startswith("line")
    assert "train.weight_decay: found a range" in message
    assert "learning_rate: {log_uniform: [low, high], trials: 16}" in message


def test_tasks_are_not_searched() -> None:
    text = "name: short\ntasks: [{name: modular_addition, m: {uniform: [2, 5]}}]\nmodels: [{tier: full}]\n"
    assert "only fields of models and train" in fault(text + SEARCH)


def test_every_whole_number_of_a_range_must_go_with_the_other_fields() -> None:
    entry = "{tier: block_diagonal, hidden: 8, block_size: {uniform: [1, 4]}}"
    text = TWO.format(first=entry, second="{tier: full}")
    assert "models[0].block_size: found 3; accepted: a divisor of hidden (8)" in fault(text)
    assert not faults(text.replace("[1, 4]", "[1, 2]"))


def test_a_field_that_only_some_tiers_have_is_searched_in_those() -> None:
    first, second = "{tier: cp, rank: {uniform: [2, 9]}}", "{tier: full}"
    cells = parse_grid(TWO.format(first=first, second=second)).cells
    assert [[range_.name for range_ in cell.ranges] for cell in cells] == [["rank"], []]
    assert 'models[1].rank: unknown key "rank"' in fault(
        TWO.format(first=first, second="{tier: full, rank: {uniform: [2, 9]}}")
    )


def test_one_cell_has_one_range() -> None:
    one, other = (f"{{tier: full, init_scale: {{uniform: [{low}, 2]}}}}" for low in (0.5, 1))
    assert "some of its cells are searched twice, with init_scale" in fault(TWO.format(first=one, second=other))
    assert len(parse_grid(TWO.format(first=one, second=one)).cells) == 1


def test_searched_fields_are_no_condition() -> None:
    grid = short(SEARCH + "train: {weight_decay: {uniform: [0, 1]}, clip_norm: [1, 2]}", only=["clip_norm=2"])
    assert [cell.cell.train.clip_norm for cell in grid.cells] == [2.0]
    assert "excludes nothing" in short_fault(
        SEARCH + "train: {weight_decay: {uniform: [0, 1]}}\nexclude: [{weight_decay: 0}]"
    )
