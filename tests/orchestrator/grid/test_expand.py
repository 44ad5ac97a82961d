from __future__ import annotations

import dataclasses

import pytest

from bilin.orchestrator.grid import Axis, Grid, parse_grid
from tests.orchestrator.grid.grids import HEAD, fault, faults, short


def test_a_grid_without_axes_is_one_cell_with_every_default() -> None:
    grid = short()
    (wanted,) = grid.cells
    assert wanted.cell_id == wanted.cell.cell_id
    assert (wanted.cell.train.steps, wanted.cell.validate.every, wanted.test.lengths) == (100_000, 250, (10, 500))
    assert (wanted.seeds, wanted.resources.threads, grid.max_trials) == ((0,), 1, 3)
    assert grid.counts.axes == ((),)


def test_axes_are_what_varies() -> None:
    text = """
name: x
tasks: [{name: modular_addition, m: [2, 3]}]
models: [{tier: cp, rank: [4, 8], hidden: 64}, {tier: full}]
train: {schedule: [cosine, constant], steps: 9}
"""
    (axes,) = parse_grid(text).counts.axes
    assert axes == (
        Axis("m", (2, 3)),
        Axis("tier", ("cp", "full")),
        Axis("hidden", (64, 256)),
        Axis("rank", (4, 8)),
        Axis("schedule", ("cosine", "constant")),
    )


def test_a_cell_that_comes_twice_is_one_cell() -> None:
    grid = parse_grid(HEAD.replace("{tier: full}", "{tier: full}, {tier: full, hidden: [256, 128]}"))
    assert (grid.counts.combinations, grid.counts.after_deduplication, len(grid.cells)) == (3, 2, 2)
    assert grid.cells[0].seeds == (0,)


def test_normalize_makes_one_cell_of_a_tier_without_scale_invariance() -> None:
    grid = parse_grid(
        HEAD.replace("{tier: full}", "{tier: lstm}, {tier: full}") + "train: {normalize: [readout, none]}"
    )
    assert len(grid.cells) == 3


def test_the_ids_of_cells_are_those_of_each_cell_alone() -> None:
    models = "{tier: lstm}, {tier: cp, rank: [2, 4]}"
    tasks = "{name: modular_addition, m: [2, 3]}, {name: modular_arithmetic, m: 2}"
    text = HEAD.replace("{tier: full}", models).replace("{name: modular_addition, m: 2}", tasks)
    cells = parse_grid(text + "train: {normalize: [readout, none], supervision: [final, every_token]}").cells
    assert [wanted.cell_id for wanted in cells] == [dataclasses.replace(wanted.cell).cell_id for wanted in cells]


def test_too_many_combinations_are_refused() -> None:
    axis = list(range(1, 201))
    many = f"train: {{steps: {axis}, batch_size: {axis}, warmup_steps: 0, weight_decay: {axis}}}"
    assert "train: found 8,000,000 combinations; accepted: at most 1,000,000" in fault(HEAD + many)
    spread = HEAD.replace("m: 2", f"m: {axis[1:]}").replace("tier: full", f"tier: full, hidden: {axis}")
    assert "7,960,000 combinations" in fault(spread + f"train: {{steps: {axis}}}")


def test_cells_share_their_settings() -> None:
    cells = short("train: {steps: [1, 2]}").cells
    assert cells[0].cell.model is cells[1].cell.model


def grid(*, task: str = "m: 2", model: str = "tier: full", train: str = "steps: 9", groups: str = "[]") -> str:
    tasks = f"tasks: [{{name: modular_addition, {task}}}]"
    return f"name: x\n{tasks}\nmodels: [{{{model}}}]\ntrain: {{{train}}}\nzip: {groups}\n"


def sizes(read: Grid) -> list[tuple[int, int, int]]:
    cells = [wanted.cell for wanted in read.cells]
    return [(getattr(cell.task, "m", 0), getattr(cell.model, "hidden", 0), cell.train.steps) for cell in cells]


def test_without_zip_axes_are_crossed_with_train_innermost() -> None:
    read = parse_grid(grid(task="m: [2, 3]", model="tier: full, hidden: [4, 8]", train="steps: [1, 2]"))
    assert sizes(read) == [(m, hidden, steps) for m in (2, 3) for hidden in (4, 8) for steps in (1, 2)]


def test_fields_of_one_entry_vary_together() -> None:
    read = parse_grid(grid(model="tier: full, hidden: [4, 8], embedding: [3, 5]", groups="[[hidden, embedding]]"))
    assert [(wanted.cell.model.hidden, wanted.cell.model.embedding) for wanted in read.cells] == [(4, 3), (8, 5)]  # type: ignore[attr-defined]
    assert read.counts.combinations == 2


def test_fields_of_task_model_and_train_vary_together() -> None:
    text = grid(
        task="m: [2, 3, 5]",
        model="tier: full, hidden: [4, 4, 8]",
        train="steps: [7, 8, 9]",
        groups="[[steps, m, hidden]]",
    )
    assert sizes(parse_grid(text)) == [(2, 4, 7), (3, 4, 8), (5, 8, 9)]


def test_a_group_beside_an_axis_of_its_own() -> None:
    text = grid(task="m: [2, 3]", model="tier: full, hidden: [4, 8]", train="steps: [1, 2]", groups="[[m, hidden]]")
    assert sizes(parse_grid(text)) == [(2, 4, 1), (2, 4, 2), (3, 8, 1), (3, 8, 2)]


def test_an_entry_without_a_field_of_the_group_keeps_the_others_as_axes() -> None:
    text = grid(task="m: [2, 3]", model="tier: full}, {tier: cp, rank: [4, 8]", groups="[[m, rank]]")
    assert len(parse_grid(text).cells) == 4


def test_a_group_of_single_values_is_no_axis() -> None:
    assert len(parse_grid(grid(groups="[[hidden, m]]")).cells) == 1


def test_lists_of_unequal_length_are_refused_with_both_places() -> None:
    text = grid(task="m: [2, 3]", model="tier: full, hidden: [4, 8, 16]", groups="[[hidden, m]]")
    message = "line 5: zip[0]: tasks[0].m has 2 values and models[0].hidden has 3 values; accepted: lists of one length"
    assert fault(text).startswith(message)


def test_a_list_beside_one_value_is_refused() -> None:
    text = grid(model="tier: full, hidden: [4, 8]", groups="[[hidden, embedding]]")
    assert "models[0].hidden has 2 values and models[0].embedding has one value" in fault(text)


def test_lengths_are_compared_though_the_tasks_have_a_fault() -> None:
    text = grid(task="m: 1", model="tier: full, hidden: [4, 8], embedding: [1, 2, 3]", groups="[[hidden, embedding]]")
    assert [line.split(":")[1].strip() for line in faults(text)] == ["tasks[0].m", "zip[0]"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("[[hiden, embedding]]", 'zip[0][0]: unknown field "hiden" (did you mean hidden?)'),
        ("[[hidden, rank]]", 'zip[0][1]: unknown field "rank"'),
        ("[[hidden, lengths]]", 'zip[0][1]: unknown field "lengths"'),
        ("[[hidden]]", "zip[0]: found a list of 1; accepted: at least two names"),
        ("[[hidden, hidden]]", 'zip[0][1]: found "hidden" twice'),
        ("[[hidden, m], [steps, m]]", 'zip[1][1]: found "m" twice'),
        ("[hidden, m]", 'zip[0]: found "hidden"; accepted: a list of names'),
        ("[[hidden, 3]]", "zip[0][1]: found 3; accepted: the name of a field"),
        ("hidden", 'zip: found "hidden"; accepted: a list of groups'),
    ],
)
def test_a_group_names_fields_that_some_entry_has(groups: str, message: str) -> None:
    assert any(message in line for line in faults(grid(groups=groups)))
