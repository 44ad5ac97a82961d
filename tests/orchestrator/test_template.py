"""Grids that are written for chosen tasks and tiers."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bilin.cli.app import app
from bilin.errors import GridError, InputError
from bilin.fields import fields_of
from bilin.models import MODELS
from bilin.models.recurrent.lstm import LSTM
from bilin.orchestrator import grid_template, plan, write_grid_template
from bilin.orchestrator.grid import parse_grid
from bilin.spec import TestSpec, TrainSpec
from bilin.tasks import TASKS


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("tier", MODELS)
def test_the_grid_of_every_task_and_tier_is_read(task, tier):
    grid = parse_grid(grid_template([task], [tier], name="first"))
    assert {(of.cell.task.name, of.cell.model.tier) for of in grid.cells} == {(task, tier)}


def test_a_grid_of_all_tasks_and_tiers_can_be_planned(tmp_path):
    path = tmp_path / "first.yaml"
    grid = write_grid_template(path, [*TASKS], [*MODELS])
    assert grid.name == "first"
    planned = plan(path, store=tmp_path / "store")
    assert planned.num_to_run == planned.num_wanted == 9 * len(grid.cells)
    pairs = {(of.wanted.cell.task.name, of.wanted.cell.model.tier) for of in planned.cells}
    assert pairs == {(task, tier) for task in TASKS for tier in MODELS}


def test_what_is_written_are_small_sizes_or_defaults_with_their_meanings():
    text = grid_template(["parity"], ["lstm"], name="first")
    grid = parse_grid(text)
    assert [of.cell.model for of in grid.cells] == [LSTM(hidden=64, embedding=64)]
    assert {of.cell.train for of in grid.cells} == {TrainSpec(steps=10_000)}
    assert {of.test for of in grid.cells} == {TestSpec()}
    for name, field in fields_of(TrainSpec).items():
        assert (f"  {name}: " in text) == (name in ("steps", "lengths"))
        assert (field.doc in text) == (name in ("steps", "lengths"))
    assert max(map(len, text.splitlines())) <= 120


def test_values_of_m_are_those_of_the_tasks_that_have_it():
    grid = parse_grid(grid_template(["parity", "modular_addition"], ["lstm"], name="first", m=(3, 7)))
    assert [getattr(of.cell.task, "m", None) for of in grid.cells] == [None, 3, 7]
    grid = parse_grid(grid_template(["modular_arithmetic_brackets"], ["lstm"], name="first", m=(3,)))
    assert [getattr(of.cell.task, "m", None) for of in grid.cells] == [3]


def test_a_search_that_the_comments_name_is_accepted():
    text = grid_template(["parity"], ["cp"], name="first")
    lines = [line for line in text.splitlines() if "choices" not in line]
    searched = "\n".join(
        line.replace("  # ", "  ", 1) if "log_uniform" in line or "trials: 12" in line else line for line in lines
    )
    assert parse_grid(searched).cells[0].learning_rate.trials == 12


@pytest.mark.parametrize(
    ("tasks", "tiers", "arguments", "message"),
    [
        (["pariti"], ["cp"], {}, r"no task 'pariti' \(did you mean parity\?\)"),
        (["parity"], ["cpp"], {}, r"no tier 'cpp' \(did you mean cp\?\)"),
        ([], ["cp"], {}, "name at least one task with --task: modular_addition, "),
        (["parity"], [], {}, "name at least one tier with --tier: full, "),
        (["parity"], ["cp"], {"m": (3,)}, "found --m 3, but none of these tasks has m: parity"),
        (["parity"], ["cp"], {"name": "A b"}, "found the name 'A b'; accepted: 1 to 64 of a-z"),
    ],
)
def test_what_cannot_be_written_is_said(tasks, tiers, arguments, message):
    with pytest.raises(InputError, match=message):
        grid_template(tasks, tiers, **{"name": "first", **arguments})


def test_a_value_that_is_not_accepted_is_an_error_of_the_grid():
    with pytest.raises(GridError, match=r"tasks\[0\]\.m\[0\]: found 1; accepted: a whole number of at least 2"):
        grid_template(["modular_addition"], ["cp"], name="first", m=(1,))


def test_the_command_writes_a_new_file_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "init", "--task", "modular_addition", "--tier", "cp", "--tier", "lstm", "--m", "2,3"]
    result = CliRunner().invoke(app, words)
    assert result.stdout == "written to grid.yaml: 6 cells; next: bilin sweep plan grid.yaml\n"
    written = (tmp_path / "grid.yaml").read_text()
    again = CliRunner().invoke(app, words)
    assert str(again.exception) == "grid.yaml exists and was not changed; name another file: bilin sweep init FILE"
    assert (tmp_path / "grid.yaml").read_text() == written
    for text, said in (("2;3", "2;3"), ("", "''")):
        wrong = CliRunner().invoke(app, [*words[:-1], text])
        assert str(wrong.exception) == f"found --m {said}; accepted: whole numbers separated by commas, as in 2,5"
