"""Trials that are tested again with kept weights: what the plan says, what runs, what is stored, what is removed."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bilin.cli.sweep.describe import describe_summary
from bilin.cli.sweep.plan import describe_plan
from bilin.folder import SweepFolder
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.grid import Grid, resolved
from bilin.orchestrator.planning.state import SweepState
from bilin.orchestrator.request import LaunchRequest
from bilin.orchestrator.sweep.launch import Summary, launch, plan
from bilin.record import TrialResult
from bilin.results import copy_weights, delete, query, stored
from bilin.spec import TrialSpec
from bilin.workers import run_trial
from tests.orchestrator.runs import no_op
from tests.orchestrator.sweep.test_versions import trained_with

INLINE = ClusterSpec(kind="inline")
COLUMNS = "* exclude (test_s, spec)"
LENGTHS = "trial_id, length, accuracy, sequence_accuracy, num_sequences"

Tiny = Callable[..., Grid]


def keeping(grid: Grid, which: str) -> Grid:
    cells = tuple(dataclasses.replace(cell, keep_weights=which) for cell in grid.cells)
    documents = tuple({**document, "keep_weights": which} for document in grid.documents)
    return dataclasses.replace(grid, cells=cells, documents=documents)


def run(grid: Grid, store: Path, **options: Any) -> Summary:
    said = plan(grid, store=store)
    summary = launch(grid, store=store, cluster=INLINE, **options)
    assert (sum(summary.ran.values()), summary.num_tests) == (said.num_to_run, said.num_tests)
    assert plan(grid, store=store).num_to_run == 0
    return summary


def rows(store: Path, view: str, select: str, where: str | None = None) -> list[dict[str, Any]]:
    sort = "trial_id, length" if view == "lengths" else "trial_id"
    found: list[dict[str, Any]] = query(store=store, view=view, select=select, where=where, sort=sort).to_pylist()
    return found


def selected(store: Path) -> set[str]:
    return {row["trial_id"] for row in rows(store, "trials", "trial_id", "selected")}


def kept(store: Path) -> frozenset[str]:
    return frozenset(trial_id for trial_id, _ in SweepFolder.of(store, "tiny").kept_weights())


def never_trained(specs: Iterable[TrialSpec]) -> bool:
    return all(spec.test_only for spec in specs)


class Runs:
    """Runs trials, and notes which."""

    def __init__(self) -> None:
        self.specs: list[TrialSpec] = []

    def __call__(self, spec: TrialSpec, **options: Any) -> TrialResult:
        self.specs.append(spec)
        return run_trial(spec, **options)


def test_a_plan_says_how_many_weights_are_lost(tiny: Tiny, tmp_path: Path) -> None:
    run(keeping(tiny(seeds="[0, 1]", m=2), "all"), tmp_path)
    before, fewer = kept(tmp_path), keeping(tiny(seeds="[0]", m=2), "all")
    explanation = LaunchRequest.read(fewer, store=tmp_path).explain()
    assert explanation.num_weights_lost == 2
    assert "2 of them lose their kept weights" in " ".join(describe_plan(explanation).split())
    run(fewer, tmp_path)
    assert len(before) - len(kept(tmp_path)) == 2


@pytest.mark.parametrize(("keep", "share"), [("selected", 2), ("all", 4)])
def test_a_new_length_is_tested_and_nothing_is_trained(tiny: Tiny, tmp_path: Path, keep: str, share: int) -> None:
    run(keeping(tiny(lengths="[10, 50]", seeds="[0, 1]", m=2), keep), tmp_path)
    before = rows(tmp_path, "trials", COLUMNS)
    curves = query(store=tmp_path, view="curves").to_arrow()
    runs, grid = Runs(), keeping(tiny(lengths="[10, 30, 70]", seeds="[0, 1]", m=2), keep)
    said = plan(grid, store=tmp_path)
    assert (said.num_tests, said.num_to_run, said.num_retrained, said.num_done) == (share, share, 0, 4 - share)
    summary = run(grid, tmp_path, run=runs)
    assert (summary.num_tests, dict(summary.ran), len(runs.specs)) == (share, {"done": share}, share)
    assert all(spec.test_only == (30, 70) for spec in runs.specs)
    assert rows(tmp_path, "trials", COLUMNS) == before
    assert query(store=tmp_path, view="curves").to_arrow().num_rows == curves.num_rows
    run(grid, tmp_path / "at_once")
    tested = [row for row in rows(tmp_path, "lengths", LENGTHS) if row["length"] != 10]
    ids = {row["trial_id"] for row in tested}
    assert len(ids) == share
    at_once = rows(tmp_path / "at_once", "lengths", LENGTHS, "length != 10")
    assert tested == [row for row in at_once if row["trial_id"] in ids]
    same = "select cell_id, length, lr, scores from cells order by all"
    assert query(same, store=tmp_path).to_pylist() == query(same, store=tmp_path / "at_once").to_pylist()


def test_a_new_row_has_all_lengths_and_the_settings_of_its_last_test(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(lengths="[10, 50]", m=2), tmp_path)
    (before,) = rows(tmp_path, "trials", "test_s", "selected")
    run(tiny(lengths="[30]", m=2), tmp_path)
    (after,) = rows(tmp_path, "trials", "trial_id, test_s, wall_s, spec", "selected")
    assert after["test_s"] > before["test_s"]
    assert json.loads(after["spec"])["test"] == {"lengths": [30], "num_sequences": 16}
    assert stored(tmp_path, "tiny")[after["trial_id"]].tested == {10: 16, 30: 16, 50: 16}
    assert plan(tiny(lengths="[10, 30, 50]", m=2), store=tmp_path).num_to_run == 0


def test_more_sequences_are_tested_without_training(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    grid = tiny()
    test = dataclasses.replace(grid.cells[0].test, num_sequences=24)
    cells = [dataclasses.replace(cell, test=test) for cell in grid.cells]
    runs = Runs()
    run(dataclasses.replace(grid, cells=tuple(cells)), tmp_path, run=runs)
    assert [spec.test_only for spec in runs.specs] == [(10, 50)] * 2


@pytest.mark.parametrize("keep", ["none", "selected", "all"])
def test_the_weights_that_the_grid_names_are_kept(tiny: Tiny, tmp_path: Path, keep: str) -> None:
    run(keeping(tiny(seeds="[0, 1]"), keep), tmp_path)
    expected = {"none": set(), "selected": selected(tmp_path), "all": set(stored(tmp_path, "tiny"))}
    assert kept(tmp_path) == expected[keep]


def test_the_estimate_of_a_test_is_less_than_that_of_a_training(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(m=2), tmp_path)
    (row,) = rows(tmp_path, "trials", "test_s", "selected")
    estimate = plan(tiny(m=2, lengths="[10, 30, 50]"), store=tmp_path).estimate
    assert estimate.seconds == pytest.approx(row["test_s"] * 30 / 60)
    assert estimate.num_unknown == 0


def test_trials_of_a_sweep_without_weights_are_trained_again(tiny: Tiny, tmp_path: Path) -> None:
    run(keeping(tiny(), "none"), tmp_path)
    runs, grid = Runs(), tiny(lengths="[10, 30]")
    said = plan(grid, store=tmp_path)
    assert (said.num_tests, said.num_retrained, said.num_to_run, said.num_more) == (0, 2, 2, 0)
    assert plan(keeping(grid, "all"), store=tmp_path).num_to_run == 4
    assert run(grid, tmp_path, run=runs).num_tests == 0
    assert not any(spec.test_only for spec in runs.specs)


def test_weights_that_turn_out_damaged_are_trained_again_with_a_note(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    damaged = sorted(kept(tmp_path))[0]
    (file,) = (
        path for (trial_id, _), path in SweepFolder.of(tmp_path, "tiny").kept_weights().items() if trial_id == damaged
    )
    file.write_bytes(b"")
    notes: list[str] = []
    grid = tiny(lengths="[10, 30]")
    summary = launch(grid, store=tmp_path, cluster=INLINE, observer=lambda snapshot: notes.extend(snapshot.notes))
    assert (summary.num_tests, dict(summary.ran)) == (1, {"done": 2})
    assert any(damaged in note and "trained again" in note for note in notes)
    assert plan(grid, store=tmp_path).num_to_run == 0
    assert damaged in kept(tmp_path)


def test_a_test_that_fails_leaves_the_row_and_runs_at_the_next_launch(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(m=2), tmp_path)
    before = rows(tmp_path, "trials", COLUMNS)

    def failing(spec: TrialSpec, **_: Any) -> TrialResult:
        return TrialResult(trial_id=spec.trial_id, status="oom", error="no memory")

    grid = tiny(m=2, lengths="[10, 30]")
    summary = launch(grid, store=tmp_path, cluster=INLINE, run=failing)
    assert (dict(summary.ran), summary.num_failed, summary.num_unfinished) == ({"oom": 1}, 0, 1)
    assert (summary.num_left, summary.exit_code, summary.state) == (0, 1, SweepState.INCOMPLETE)
    assert "1 failed; its stored result stays" in " ".join(describe_summary(summary, [], ["bilin"]).split())
    assert rows(tmp_path, "trials", COLUMNS) == before
    assert plan(grid, store=tmp_path).num_tests == 1
    run(grid, tmp_path)


def test_weights_go_with_their_trials(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(seeds="[0, 1]"), tmp_path)
    first = sorted(kept(tmp_path))[0]
    delete(tmp_path, f"trial_id = '{first}'")
    assert first not in kept(tmp_path)
    run(tiny(seeds="[0, 1]"), tmp_path)
    assert first in kept(tmp_path)
    run(tiny(seeds="[1]"), tmp_path)
    assert kept(tmp_path) == selected(tmp_path)
    assert len(kept(tmp_path)) == 2


def test_a_part_of_the_grid_leaves_the_weights_of_the_other_cells(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(seeds="[0, 1]"), tmp_path)
    before = kept(tmp_path)
    grid = tiny(seeds="[0, 1]")
    launch(dataclasses.replace(grid, cells=grid.cells[:1]), store=tmp_path, cluster=INLINE)
    assert kept(tmp_path) == before


def test_a_search_with_later_rounds_is_tested_at_once(tiny: Tiny, tmp_path: Path) -> None:
    rate = "{log_uniform: [1e-4, 1e-1], trials: 4, round: 2}"
    run(keeping(tiny(rate=rate, m=2), "all"), tmp_path)
    runs = Runs()
    grid = keeping(tiny(rate=rate, m=2, lengths="[10, 50, 70]"), "all")
    assert plan(grid, store=tmp_path).num_tests == 4
    run(grid, tmp_path, run=runs)
    assert never_trained(runs.specs)


def test_half_written_files_of_killed_workers_go_at_the_next_launch(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    partial = SweepFolder.of(tmp_path, "tiny").weights / "0123.safetensors.ab.new"
    partial.write_bytes(b"")
    run(tiny(), tmp_path)
    assert not partial.exists()


def test_a_new_training_that_fails_leaves_the_row(tiny: Tiny, tmp_path: Path) -> None:
    launch(tiny(m="[2]"), store=tmp_path, cluster=INLINE, run=no_op)
    before = rows(tmp_path, "trials", COLUMNS)

    def failing(spec: TrialSpec, **_: Any) -> TrialResult:
        return TrialResult(trial_id=spec.trial_id, status="failed", error="ValueError: no")

    summary = launch(tiny(m="[2]", lengths="[10, 90]"), store=tmp_path, cluster=INLINE, run=failing)
    assert (dict(summary.ran), summary.exit_code, str(summary.state)) == ({"failed": 1}, 1, "incomplete")
    assert rows(tmp_path, "trials", COLUMNS) == before
    assert plan(tiny(m="[2]", lengths="[10, 90]"), store=tmp_path).num_to_run == 1


def test_a_new_training_is_tested_at_what_was_tested_before(tiny: Tiny, tmp_path: Path) -> None:
    for lengths in ("[10, 40]", "[10, 30]"):
        launch(tiny(m="[2]", lengths=lengths), store=tmp_path, cluster=INLINE, run=no_op)
    assert plan(tiny(m="[2]", lengths="[10, 40]"), store=tmp_path).num_to_run == 0


def test_a_plan_says_that_another_selected_rate_means_more_training(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(m=2), tmp_path)
    assert plan(tiny(m=2, lengths="[10, 30]"), store=tmp_path).num_more == 0
    assert plan(tiny(m=2, lengths="[10, 30]", seeds="[0, 1]"), store=tmp_path).num_more == 1


KILLED = """
import os, signal, sys
from bilin.errors import InterruptedSweepError
from bilin.orchestrator import ClusterSpec, launch
from bilin.workers import run_trial

def killed(spec, **options):
    run_trial(spec, **options)  # writes the weights
    os.kill(os.getpid(), signal.SIGKILL)

launch(sys.argv[1], store=sys.argv[2], cluster=ClusterSpec(kind="inline"), rerun_stale=True, run=killed)
"""


def test_weights_and_row_are_of_one_training_when_a_launch_is_killed_between_them(tiny: Tiny, tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = keeping(tiny(m=2, rate="{choices: [1e-2]}"), "all")
    launch(grid, store=store, cluster=INLINE, run=partial(trained_with, versions={"torch": "1.0.0"}))
    (before,) = stored(store, "tiny").values()
    assert before.weights
    content = before.weights.read_bytes()
    (tmp_path / "grid.json").write_text(resolved(grid))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "grid.json"), str(store)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(list(before.weights.parent.iterdir())) == 2, "the new weights were written"
    (after,) = stored(store, "tiny").values()
    assert (after.origin.torch, after.weights) == ("1.0.0", before.weights)
    copy_weights(store, "tiny", after.trial_id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    runs = Runs()
    run(keeping(tiny(m=2, rate="{choices: [1e-2]}", lengths="[10, 50, 70]"), "all"), store, run=runs)
    assert [spec.kept for spec in runs.specs] == [before.weights]
    launch(grid, store=store, cluster=INLINE, rerun_stale=True)
    (again,) = stored(store, "tiny").values()
    assert again.origin.torch != "1.0.0"
    assert again.weights not in (None, before.weights)
    run(grid, store)
    assert list(before.weights.parent.iterdir()) == [again.weights], "those of the old row are removed"
