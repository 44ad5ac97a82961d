from __future__ import annotations

import pytest

from bilin.orchestrator.grid import Choices, Grid, parse_grid
from tests.orchestrator.grid.grids import HEAD, fault, faults, short

GRID = """
name: x
tasks: [{name: modular_addition, m: 2}]
models: [{tier: full, hidden: 8}, {tier: cp, rank: [2, 4]}]
train: {steps: 5}
"""


def hidden(grid: Grid) -> list[tuple[str, int, object]]:
    models = [wanted.cell.model for wanted in grid.cells]
    return [(model.tier, getattr(model, "hidden", 0), getattr(model, "rank", None)) for model in models]


@pytest.mark.parametrize(
    ("override", "models"),
    [
        ("models.hidden=4", [("full", 4, None), ("cp", 4, 2), ("cp", 4, 4)]),
        ("models[1].hidden=4", [("full", 8, None), ("cp", 4, 2), ("cp", 4, 4)]),
        ("models.rank=8", [("full", 8, None), ("cp", 256, 8)]),
        ("models.rank=[1, 3]", [("full", 8, None), ("cp", 256, 1), ("cp", 256, 3)]),
        ("models[0]={tier: full, hidden: 2}", [("full", 2, None), ("cp", 256, 2), ("cp", 256, 4)]),
        ("models=[{tier: lstm}]", [("lstm", 256, None)]),
    ],
)
def test_a_value_is_set_in_the_entries_that_are_meant(override: str, models: list[tuple[str, int, object]]) -> None:
    assert hidden(parse_grid(GRID, overrides=[override])) == models


def test_any_other_key_is_set_with_a_value_in_yaml() -> None:
    overrides = ["train.steps=9", "train.clip_norm=null", "learning_rate.choices=[1e-2]", "seeds=[3, 4]", "name=y"]
    grid = parse_grid(GRID, overrides=[*overrides, "test.lengths=[7]", "validate.every=2", "resources.threads=2"])
    wanted = grid.cells[0]
    assert (grid.name, wanted.cell.train.steps, wanted.cell.train.clip_norm) == ("y", 9, None)
    assert (wanted.learning_rate, wanted.seeds) == (Choices(choices=(1e-2,), until_solved=False), (3, 4))
    assert (wanted.test.lengths, wanted.cell.validate.every, wanted.resources.threads) == ((7,), 2, 2)


def test_a_value_is_set_in_one_use_of_an_alias_alone() -> None:
    text = GRID.replace("[{tier: full, hidden: 8}", "[&a {tier: full, hidden: 8}, *a")
    assert hidden(parse_grid(text, overrides=["models[1].hidden=4"]))[:2] == [("full", 8, None), ("full", 4, None)]
    assert fault(text.replace("hidden: 8", "hidden: 0"), overrides=["models[1].hidden=4"]).startswith(
        "line 4: models[0]"
    )


def test_the_last_of_two_counts() -> None:
    assert parse_grid(GRID, overrides=["train.steps=9", "train.steps=8"]).cells[0].cell.train.steps == 8


def test_an_override_holds_for_all_documents() -> None:
    text = HEAD + "train: {steps: 1}\ngrids: [{}, {train: {steps: 2, batch_size: 3}}, {seeds: [4]}]"
    grid = parse_grid(text, overrides=["train.steps=9", "seeds=[5]"])
    assert [(wanted.cell.train.steps, wanted.cell.train.batch_size) for wanted in grid.cells] == [(9, 64), (9, 3)]
    assert all(wanted.seeds == (5,) for wanted in grid.cells)


def test_an_override_gives_what_the_file_lacks_and_mends_what_is_wrong() -> None:
    text = "tasks: [{name: modular_addition}]\nmodels: [{tier: full}]\nseeds: []\n"
    assert len(faults(text)) == 3
    assert len(parse_grid(text, overrides=["name=x", "tasks.m=2", "seeds=[0]"]).cells) == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stesp=3", '--set train.stesp=3: unknown field "stesp" (did you mean steps?); accepted: steps'),
        ("trian.steps=3", '--set trian.steps=3: unknown key "trian" (did you mean train?); accepted: name, tasks'),
        ("grids=[]", '--set grids=[]: unknown key "grids"'),
        (
            "models.hiden=3",
            '--set models.hiden=3: no entry of models has it: unknown field "hiden" (did you mean hidden?)',
        ),
        ("models.block_size=3", "no entry of models has it"),
        ("models[2].hidden=3", "found the index 2; accepted: 0 to 1"),
        ("train[0].steps=3", "train has no entries to choose one from"),
        ("seeds.x=3", "seeds has no fields"),
        ("train.lengths[0]=3", "accepted: path=value"),
        ("train.steps", "accepted: path=value"),
        ("=3", "accepted: path=value"),
        ("train.steps=[", "--set train.steps=[: not YAML"),
        ("train.steps=!!int 3", "found the tag"),
    ],
)
def test_an_override_that_means_nothing_is_refused(override: str, message: str) -> None:
    assert message in fault(GRID, overrides=[override])


def test_a_value_that_is_not_accepted_is_a_fault_of_its_path_once_for_all_entries() -> None:
    assert fault(GRID, overrides=["models.hidden=-1"]).startswith(
        "models[0].hidden: found -1; accepted: a whole number"
    )
    assert fault(GRID, overrides=["models.hidden="]).startswith("models[0].hidden: found nothing")
    assert fault(GRID, overrides=["models[0].block_size=3"]).startswith(
        'models[0].block_size: unknown key "block_size" (a field of block_diagonal)'
    )


def test_no_overrides_change_nothing() -> None:
    assert short(overrides=[]) == short()
