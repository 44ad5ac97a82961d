from __future__ import annotations

import json

import pytest

from bilin.errors import GridError
from bilin.orchestrator.grid import parse_grid, resolved, restore_grid
from tests.orchestrator.grid.grids import HEAD, short

RICH = """
name: rich
tasks: [{name: random_state_machine, m: [5, 2]}]
models: [{hidden: [8, 4], tier: cp, rank: [1, 2], embedding: [3, 3]}, {tier: lstm}]
train: {weight_decay: [1e-3, 0.1], clip_norm: [null, 1]}
learning_rate: {log_uniform: [1e-5, 1e-2], trials: 3}
zip: [[hidden, embedding], [weight_decay, clip_norm]]
exclude: [{rank: 2, m: [2]}, {clip_norm: null, tier: lstm}]
grids: [{}, {seeds: [1]}, {models: [{tier: full}], exclude: []}]
"""


def test_the_resolved_text_is_the_same_grid_however_it_is_read() -> None:
    grid = parse_grid(RICH)
    for again in (restore_grid(resolved(grid)), parse_grid(resolved(grid))):
        assert again == grid
        assert resolved(again) == resolved(grid)


def test_the_resolved_text_has_every_default() -> None:
    (document,) = json.loads(resolved(short()))["grids"]
    assert document["models"] == [
        {
            "tier": "full",
            "hidden": 256,
            "freeze": "none",
            "embedding": 256,
            "onehot": False,
            "init_scale": 1.0,
            "additive": False,
            "input_independent": False,
        }
    ]
    assert document["train"]["steps"] == 100_000
    assert document["learning_rate"] == {"choices": [1e-3, 1e-4, 1e-5], "until_solved": False}
    assert (document["zip"], document["exclude"], document["seeds"]) == ([], [], [0])


def test_a_text_from_before_a_field_existed_is_the_grid_that_it_was() -> None:
    earlier = parse_grid(HEAD + "validate: {mixed_lengths: false}\ntrain: {weight_decay: 0.1, weight_decay_on: all}")
    plain = json.loads(resolved(earlier))
    (document,) = plain["grids"]
    del document["validate"]["mixed_lengths"], document["train"]["weight_decay_on"], document["models"][0]["onehot"]
    assert restore_grid(json.dumps(plain)) == earlier


def test_an_exclusion_that_an_override_left_without_a_cell_can_be_restored() -> None:
    text = HEAD.replace("m: 2", "m: [2, 3]") + "exclude: [{m: 3}]"
    grid = parse_grid(text, overrides=["tasks.m=2"])
    assert restore_grid(resolved(grid)) == grid


@pytest.mark.parametrize("text", ["", "[]", "{", "3", '{"name": 3}', "[" * 100_000, '{"name": ' + "9" * 5000 + "}"])
def test_what_is_no_resolved_grid_is_refused(text: str) -> None:
    with pytest.raises(GridError):
        restore_grid(text)
