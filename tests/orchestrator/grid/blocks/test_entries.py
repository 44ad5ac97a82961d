from __future__ import annotations

import pytest

from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.orchestrator.grid import parse_grid
from bilin.spec import TrainSpec
from bilin.tasks import TASKS, task_settings
from tests.orchestrator.grid.grids import HEAD, fault, faults


def with_model(entry: str) -> str:
    return HEAD.replace("{tier: full}", entry)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{tier: ful}", 'models[0].tier: found "ful" (did you mean full?); accepted: one of full, cp'),
        ("{tier: [full, cp]}", "models[0].tier: found a list of 2; accepted: one of full"),
        ("{hidden: 3}", "models[0].tier: missing; accepted: one of full"),
        ("full", 'models[0]: found "full"; accepted: a mapping'),
        ("{tier: cp}", "models[0].rank: missing; accepted: a whole number of at least 1"),
        ("{tier: cp, rank: 0}", "models[0].rank: found 0"),
        (
            "{tier: real_diagonal, block_size: 8}",
            'unknown key "block_size" (a field of block_diagonal); accepted: tier, hidden',
        ),
        ("{tier: lstm, additive: true}", 'unknown key "additive" (a field of full, cp'),
        ("{tier: block_diagonal, block_size: 3}", "block_size: found 3; accepted: a divisor of hidden (256)"),
        ("{tier: rotation, hidden: 7}", "hidden: found 7; accepted: an even number"),
    ],
)
def test_an_entry_has_the_fields_of_what_it_names(entry: str, message: str) -> None:
    assert message in fault(with_model(entry))


@pytest.mark.parametrize("value", ["3", "[]", "{tier: full}", "full", ""])
def test_models_are_a_list_of_mappings(value: str) -> None:
    text = HEAD.replace("[{tier: full}]", value)
    assert "models: found" in fault(text)
    assert "accepted: a list of mappings, such as [{tier: full}]" in fault(text)


def test_what_is_required_is_missed() -> None:
    assert [line.split(";")[0] for line in faults("seeds: [0]")] == [
        "line 1: name: missing",
        "line 1: tasks: missing",
        "line 1: models: missing",
    ]


@pytest.mark.parametrize("name", ["Short", "-x", "a b", "x" * 65, "a/b", "", "3", "null", "[a]"])
def test_a_name_must_do_for_a_folder(name: str) -> None:
    assert "name: found" in fault(HEAD.replace("name: short", f"name: {name}"))


@pytest.mark.parametrize("name", ["a", "0", "3d.x_y-z", "x" * 64])
def test_names_of_64_letters_digits_dots_and_dashes_do(name: str) -> None:
    assert parse_grid(HEAD.replace("name: short", f"name: '{name}'")).name == name


def test_a_name_of_a_field_means_one_field() -> None:
    """A condition, a zip and a column name fields without saying whose they are."""
    tasks = {name for task in TASKS for name in fields_of(task_settings(task))}
    models = {name for tier in MODELS for name in fields_of(tier_settings(tier))}
    train = set(fields_of(TrainSpec))
    assert not tasks & models | tasks & train | models & train
    assert not {"task", "tier", "name", "lr", "seed"} & (tasks | models | train)
