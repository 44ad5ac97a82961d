from __future__ import annotations

import time

from bilin.orchestrator.grid import Axis, parse_grid
from tests.orchestrator.grid.grids import HEAD, fault, short


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


def test_too_many_combinations_are_refused_at_once() -> None:
    axis = list(range(1, 201))
    start = time.perf_counter()
    many = f"train: {{steps: {axis}, batch_size: {axis}, warmup_steps: 0, weight_decay: {axis}}}"
    assert "train: found 8,000,000 combinations; accepted: at most 1,000,000" in fault(HEAD + many)
    spread = HEAD.replace("m: 2", f"m: {axis[1:]}").replace("tier: full", f"tier: full, hidden: {axis}")
    assert "7,960,000 combinations" in fault(spread + f"train: {{steps: {axis}}}")
    assert time.perf_counter() - start < 5


def test_cells_share_their_settings() -> None:
    cells = short("train: {steps: [1, 2]}").cells
    assert cells[0].cell.model is cells[1].cell.model
