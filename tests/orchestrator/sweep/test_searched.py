"""A sweep whose cells search other fields than the learning rate, trained in process."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bilin.cli.sweep.plan import list_trials
from bilin.errors import DamageWarning
from bilin.folder import SweepFolder
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.grid import Grid, parse_grid
from bilin.orchestrator.monitor.trial import find_trial, repeat_grid
from bilin.orchestrator.planning.asked import read_asked
from bilin.orchestrator.request import LaunchRequest
from bilin.orchestrator.sweep.launch import launch, plan
from bilin.record import TrialResult
from bilin.results import query, stored, table, verify
from bilin.spec import TrialSpec
from tests.orchestrator.runs import no_op

INLINE = ClusterSpec(kind="inline")
GRID = """
name: points
tasks: [{{name: modular_addition, m: [2, 3]}}]
models:
  - {{tier: real_diagonal, hidden: 4, embedding: 4, init_scale: {{uniform: [0.5, 2]}}}}
  - {{tier: full, hidden: 4, embedding: 4}}
train: {{steps: 6, weight_decay: {{log_uniform: {decay}}}}}
validate: {{every: 3, lengths: [20], num_sequences: 16}}
test: {{lengths: [10], num_sequences: 16}}
learning_rate: {{log_uniform: [1e-3, 1e-1], trials: {trials}, round: 2}}
seeds: {seeds}
"""


def grid(*, decay: str = "[1e-6, 1e-2]", trials: int = 3, seeds: str = "[0]") -> Grid:
    return parse_grid(GRID.format(decay=decay, trials=trials, seeds=seeds))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    launch(grid(), store=store, cluster=INLINE)
    return store


def test_rows_have_the_values_in_the_columns_of_their_fields(store: Path) -> None:
    rows = query(store=store, view="trials").to_pylist()
    assert len(rows) == 12
    for row in rows:
        spec = json.loads(row["spec"])
        searched = {field["name"]: field["value"] for field in row["searched"]}
        assert list(searched) == ["init_scale", "weight_decay"][row["tier"] == "full" :]
        assert spec["searched"] == list(searched)
        assert searched == {name: row[name] for name in searched}
        assert spec["train"]["weight_decay"] == row["weight_decay"]
    assert len({(row["cell_id"], row["lr"], row["weight_decay"]) for row in rows}) == 12


def test_cells_have_the_selected_point(store: Path) -> None:
    selected = {row["cell_id"]: row for row in query(store=store, view="trials", where="selected").to_pylist()}
    cells = query(store=store, view="cells").to_pylist()
    assert len(cells) == len(selected) == 4
    for cell in cells:
        names = ("lr", "weight_decay", "init_scale", "searched", "params")
        assert [cell[name] for name in names] == [selected[cell["cell_id"]][name] for name in names]
        assert cell["num_seeds"] == 1
    assert {"lr", "weight_decay", "init_scale"} <= set(query(store=store).column_names)


def test_views_of_a_running_sweep_show_points_within_all_bounds(tmp_path: Path) -> None:
    launch(grid(), store=tmp_path, cluster=INLINE, run=no_op)
    shown: list[float] = []

    def looks(spec: TrialSpec, **_: object) -> TrialResult:
        shown.extend(query(store=tmp_path, view="trials")["weight_decay"].to_pylist())
        return no_op(spec)

    before = query(store=tmp_path, view="trials")["weight_decay"].to_pylist()
    launch(grid(decay="[1e-4, 1e-2]"), store=tmp_path, cluster=INLINE, run=looks)
    assert min(before) < 1e-4 <= min(shown)
    assert {decay for decay in before if decay >= 1e-4} <= {*shown}


def test_a_table_has_one_row_for_a_model_whatever_it_selects(store: Path) -> None:
    shown = table(store).data
    assert shown["model"].to_pylist() == ["full", "real_diagonal"]


def test_points_are_compared_on_the_same_draws(store: Path) -> None:
    (cell, *_) = grid().cells
    first, second, *_ = read_asked(SweepFolder.of(store, "points"))[cell.cell_id]
    assert cell.cell.at(first) != cell.cell.at(second)
    assert cell.cell.at(first).cell_id == cell.cell.at(second).cell_id == cell.cell_id


def test_nothing_runs_again_and_more_trials_and_seeds_add_to_what_is_there(store: Path) -> None:
    assert plan(grid(), store=store).num_to_run == 0
    said = plan(grid(seeds="[0, 1]", trials=4), store=store)
    assert (said.num_done, said.num_to_run) == (12, 20)


def test_a_plan_names_points(tmp_path: Path) -> None:
    launch(grid(), store=tmp_path, cluster=INLINE, run=no_op)
    explanation = LaunchRequest.read(grid(trials=5), store=tmp_path).explain()
    (reason, *_) = explanation.reasons
    assert str(reason.reason) == "new point of the search"
    assert " lr=" in list_trials(explanation)[2]


def test_narrower_bounds_leave_points_out_of_the_results(tmp_path: Path) -> None:
    launch(grid(), store=tmp_path, cluster=INLINE, run=no_op)
    launch(grid(decay="[1e-4, 1e-2]"), store=tmp_path, cluster=INLINE, run=no_op)
    shown = query(store=tmp_path, view="trials").to_pylist()
    assert len(shown) == 12
    assert all(row["weight_decay"] >= 1e-4 for row in shown)
    assert len(query(store=tmp_path, view="trials", everything=True).to_pylist()) > 12


def test_a_lost_file_of_what_was_asked_changes_nothing(tmp_path: Path) -> None:
    launch(grid(), store=tmp_path, cluster=INLINE, run=no_op)
    before = {cell.wanted.cell_id: set(cell.points) for cell in plan(grid(), store=tmp_path).cells}
    SweepFolder.of(tmp_path, "points").asked.unlink()
    after = plan(grid(), store=tmp_path)
    assert {cell.wanted.cell_id: set(cell.points) for cell in after.cells} == before
    assert after.num_to_run == 0


def test_a_damaged_line_of_what_was_asked_is_named_and_left_out(tmp_path: Path) -> None:
    launch(grid(), store=tmp_path, cluster=INLINE, run=no_op)
    folder = SweepFolder.of(tmp_path, "points")
    before, content = read_asked(folder), folder.asked.read_text()
    folder.asked.write_text(content.replace('"lr": 0.0', '"lr": 0.1', 1) + '{"cell": "not comple')
    with pytest.warns(DamageWarning, match=r"asked.jsonl is damaged \(line 1\)"):
        after = read_asked(folder)
    assert sum(map(len, after.values())) < sum(map(len, before.values()))
    (health,) = verify(tmp_path)
    assert "asked.jsonl is damaged (line 1)" in "".join(health.damage)
    with pytest.warns(DamageWarning):
        launch(grid(trials=4), store=tmp_path, cluster=INLINE, run=no_op)
    assert "not comple" not in folder.asked.read_text()


def test_lines_of_an_earlier_version_have_no_checksum(tmp_path: Path) -> None:
    launch(grid(), store=tmp_path, cluster=INLINE, run=no_op)
    folder = SweepFolder.of(tmp_path, "points")
    before = read_asked(folder)
    folder.asked.write_text(re.sub(', "crc32": [0-9]+', "", folder.asked.read_text()))
    assert read_asked(folder) == before


def test_the_grid_of_a_trial_repeats_it(store: Path, tmp_path: Path) -> None:
    trial, *_ = stored(store, "points")
    row = find_trial(trial, store=store)
    launch(parse_grid(repeat_grid(row)), store=tmp_path, cluster=INLINE)
    again = find_trial(trial, store=tmp_path)
    for name in ("cell_id", "training_loss", "validation_accuracy"):
        assert again[name] == row[name]


def test_a_cell_of_failed_trials_selects_no_point(tmp_path: Path) -> None:
    def fails(spec: TrialSpec, **_: object) -> TrialResult:
        return TrialResult(trial_id=spec.trial_id, status="failed", error="ValueError: no")

    text = GRID.format(decay="[1e-6, 1e-2]", trials=1, seeds="[0]")
    launch(parse_grid(text), store=tmp_path, cluster=INLINE, run=fails)
    for cell in query(store=tmp_path, view="cells").to_pylist():
        assert (cell["lr"], cell["weight_decay"], cell["num_seeds"]) == (None, None, 0)
