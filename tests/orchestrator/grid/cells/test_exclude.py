from __future__ import annotations

import pytest

from bilin.orchestrator.grid import parse_grid
from tests.orchestrator.grid.grids import fault

GRID = """
name: x
tasks: [{name: modular_addition, m: [2, 3]}, {name: modular_arithmetic, m: 2}]
models: [{tier: full}, {tier: cp, rank: [4, 8]}]
train: {clip_norm: [null, 1]}
"""


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("[]", 18),
        ("[{tier: full}]", 12),
        ("[{rank: 8}]", 12),
        ("[{tier: cp, rank: 8, m: 2}]", 14),
        ("[{task: modular_addition, m: 2}]", 12),
        ("[{rank: [4, 8]}]", 6),
        ("[{clip_norm: null}]", 9),
        ("[{clip_norm: 1.0, tier: full}]", 15),
        ("[{tier: full}, {m: 3}]", 8),
    ],
)
def test_a_cell_is_excluded_where_all_values_match(exclude: str, left: int) -> None:
    grid = parse_grid(f"{GRID}exclude: {exclude}")
    assert (len(grid.cells), grid.counts.after_exclusion, grid.counts.combinations) == (left, left, 18)


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ("[{rnk: 8}]", 'exclude[0].rnk: unknown field "rnk" (did you mean rank?)'),
        ("[{name: modular_addition}]", 'exclude[0].name: unknown field "name"; accepted: task, tier'),
        ("[{tier: fll}]", 'exclude[0].tier: found "fll" (did you mean full?)'),
        ("[{rank: '8'}]", 'exclude[0].rank: found "8"; accepted: a whole number of at least 1'),
        ("[{rank: []}]", "exclude[0].rank: found an empty list"),
        ("[{lengths: [2, 10]}]", "exclude[0].lengths: is a list in itself"),
        ("[{}]", "exclude[0]: found an empty mapping"),
        ("[tier]", 'exclude[0]: found "tier"; accepted: fields with values'),
        ("{tier: cp}", "exclude: found a mapping; accepted: a list of mappings"),
        ("[{rank: 16}]", "exclude[0]: excludes nothing; accepted: values that some cell has"),
        ("[{tier: full, rank: 4}]", "exclude[0]: excludes nothing"),
        ("[{m: [2, 3]}]", "exclude[0]: no cell is left; accepted: exclusions that leave some"),
    ],
)
def test_an_exclusion_that_cannot_be_meant_is_refused(exclude: str, message: str) -> None:
    assert f"line 6: {message}" in fault(f"{GRID}exclude: {exclude}")


def test_a_set_that_leaves_an_exclusion_without_a_cell_is_no_fault() -> None:
    assert len(parse_grid(f"{GRID}exclude: [{{m: 3}}]", overrides=["tasks.m=2"]).cells) == 12
