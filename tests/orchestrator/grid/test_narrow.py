from __future__ import annotations

import pytest

from bilin.orchestrator.grid import parse_grid, resolved
from tests.orchestrator.grid.grids import fault, faults

GRID = """
name: x
tasks: [{name: modular_addition, m: [2, 3]}]
models: [{tier: full}, {tier: cp, rank: [4, 8]}]
train: {clip_norm: [null, 1]}
"""


@pytest.mark.parametrize(
    ("only", "left"),
    [
        ([], 12),
        (["tier=full"], 4),
        (["tier=full,m=2"], 2),
        (["tier=full", "m=2"], 2),
        (["rank=4,rank=8"], 8),
        (["task=modular_addition, clip_norm=null"], 6),
        (["clip_norm=1.0"], 6),
        (["tier=cp", "rank=8", "m=3"], 2),
    ],
)
def test_cells_must_have_one_of_the_values_of_each_field(only: list[str], left: int) -> None:
    grid = parse_grid(GRID, only=only)
    assert (len(grid.cells), grid.counts.after_deduplication) == (left, 12)


def test_the_whole_grid_is_written_all_the_same() -> None:
    assert resolved(parse_grid(GRID, only=["tier=full"])) == resolved(parse_grid(GRID))


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("tire=full", '--only tire=full: unknown field "tire" (did you mean tier?); accepted: task, m, tier'),
        ("tier=ful", '--only tier=ful: found "ful" (did you mean full?)'),
        ("tier=lstm", "--only tier=lstm: no cell of the grid has this value; values of tier: full, cp"),
        ("m=7", "--only m=7: no cell of the grid has this value; values of m: 2, 3"),
        ("m=two", '--only m=two: found "two"; accepted: a whole number of at least 2'),
        ("clip_norm=2", "values of clip_norm: null, 1"),
        ("tier", "--only tier: accepted: field=value"),
        ("tier=full,", "accepted: field=value"),
        ("m=[", "accepted: field=value"),
        ("lengths=2", 'unknown field "lengths"; accepted: task, m, tier'),
        ("tier=full,rank=4", "no cell has all of these"),
    ],
)
def test_a_condition_that_no_cell_meets_says_what_there_is(only: str, message: str) -> None:
    assert message in fault(GRID, only=[only])


def test_all_faults_of_all_conditions_come_at_once() -> None:
    assert len(faults(GRID, only=["a=1,b=2", "m=9"])) == 3
