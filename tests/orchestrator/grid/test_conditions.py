from __future__ import annotations

import pytest

from bilin.orchestrator.grid import parse_grid, resolved
from tests.orchestrator.grid.grids import HEAD, fault, faults

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
        ("[{rank: '8'}]", 'exclude[0].rank: found "8" (remove the quotes); accepted: a whole number of at least 1'),
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


NARROWED = """
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
    grid = parse_grid(NARROWED, only=only)
    assert (len(grid.cells), grid.counts.after_deduplication) == (left, 12)


def test_the_whole_grid_is_written_all_the_same() -> None:
    assert resolved(parse_grid(NARROWED, only=["tier=full"])) == resolved(parse_grid(NARROWED))


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("tire=full", '--only tire=full: unknown field "tire" (did you mean tier?); accepted: task, m, tier'),
        ("tier=ful", '--only tier=ful: found "ful" (did you mean full?)'),
        (
            "tier=lstm",
            "--only tier=lstm: no cell of the grid has this value, though bilin has this tier; values of tier: full",
        ),
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
    assert message in fault(NARROWED, only=[only])


def test_all_faults_of_all_conditions_come_at_once() -> None:
    assert len(faults(NARROWED, only=["a=1,b=2", "m=9"])) == 3


@pytest.mark.parametrize(
    ("only", "message"),
    [
        (
            "rotation",
            "accepted: field=value, such as tier=full or tier=full,m=2 (write tier=rotation, but the grid has no",
        ),
        ("full", "accepted: field=value, such as tier=full or tier=full,m=2 (write tier=full)"),
        ("tier=rotation", "no cell of the grid has this value, though bilin has this tier; values of tier: full"),
        ("rank=3", 'unknown field "rank" (a field of bilin that no cell of the grid has); accepted: task'),
    ],
)
def test_what_the_grid_lacks_and_bilin_has_is_named(only: str, message: str) -> None:
    (found,) = faults(HEAD, only=[only])
    assert message in found
