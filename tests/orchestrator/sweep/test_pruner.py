"""Sweeps with a pruner: what runs, what is stored, and that what goes on has the bits of an undisturbed trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bilin.cli.sweep.describe_trial import describe_why
from bilin.cli.sweep.plan import describe_plan
from bilin.errors import InterruptedSweepError, StoreError
from bilin.folder import SweepFolder
from bilin.orchestrator import ClusterSpec, launch, plan, status
from bilin.orchestrator.grid import Grid, parse_grid
from bilin.orchestrator.monitor.trial import why
from bilin.orchestrator.planning.reasons import Reason
from bilin.orchestrator.request import LaunchRequest
from bilin.orchestrator.sweep.loop import Sweep
from bilin.orchestrator.sweep.recorder import Recorder
from bilin.record import Rung, TrialResult
from bilin.results import SweepWriter, query, stored
from bilin.spec import Resources, TrialSpec
from bilin.workers import run_trial
from bilin.workers.inline import InlinePool
from bilin.workers.pool import Group
from tests.sweeps import NOT_REPEATED

INLINE = ClusterSpec(kind="inline")
PRUNER = "{kind: halving, first: 10, reduction: 2}"
GRID = """
name: pruned
tasks: [{{name: modular_addition, m: [2, 3]}}]
models: [{{tier: full, hidden: 4, embedding: 4}}]
train: {{steps: 60, stop_when_solved: false}}
validate: {{every: 10, lengths: [20], num_sequences: 32}}
test: {{lengths: [10], num_sequences: 32}}
learning_rate: {rate}
pruner: {pruner}
seeds: {seeds}
"""
LISTED = "{choices: [1e-1, 3e-2, 1e-2, 1e-3]}"
SEARCHED = "{log_uniform: [1e-4, 1e-1], trials: 6, round: 3}"


def grid(pruner: str = PRUNER, rate: str = LISTED, seeds: str = "[0, 1]") -> Grid:
    """A grid of two cells with rungs at the steps 10, 20 and 40; of 4 rates, 2 go on at the first, and 1 to its end."""
    return parse_grid(GRID.format(pruner=pruner, rate=rate, seeds=seeds))


def rows(store: Path, where: str = "true") -> list[dict[str, object]]:
    """The trials without what differs from run to run."""
    left_out = ", ".join(sorted(NOT_REPEATED))
    found = query(
        f"SELECT * EXCLUDE ({left_out}, found_in, spec, rungs) FROM trials WHERE {where} ORDER BY trial_id", store=store
    )
    return list(found.to_pylist())


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("pruned")
    summary = launch(grid(), store=store, cluster=INLINE)
    assert (summary.num_done, summary.num_total, summary.num_left) == (16, 16, 0)
    assert summary.ran == {"done": 4, "pruned": 12}
    return store


def test_what_goes_on_to_its_end_has_the_bits_of_an_undisturbed_trial(pruned: Path, tmp_path: Path) -> None:
    launch(grid("{}"), store=tmp_path, cluster=INLINE)
    ended = rows(pruned, "status = 'done'")
    assert len(ended) == 4
    undisturbed = {row["trial_id"]: row for row in rows(tmp_path)}
    assert ended == [{**undisturbed[row["trial_id"]], "selected": row["selected"]} for row in ended]
    assert all(row["selected"] for row in ended)


def test_a_pruned_trial_has_its_rungs_and_no_tests(pruned: Path) -> None:
    trials = stored(pruned, "pruned").values()
    assert Counter(tuple(rung.step for rung in trial.rungs) for trial in trials) == {
        (10,): 8,
        (10, 20): 4,
        (10, 20, 40): 4,
    }
    for trial in trials:
        if trial.status == "pruned":
            assert (trial.steps, trial.validation_accuracy) == (trial.rungs[-1].step, trial.rungs[-1].accuracy)
            assert not trial.tested


def test_the_same_sweep_again_runs_nothing_and_is_complete(pruned: Path) -> None:
    assert plan(grid(), store=pruned).num_to_run == 0
    assert status("pruned", store=pruned).plan.state == "complete"
    assert not SweepFolder(pruned / "pruned").checkpoints.exists()


def test_the_checkpoints_of_pruned_trials_go_when_their_cell_is_complete(tmp_path: Path) -> None:
    num_ended = 0

    def interrupted(spec: TrialSpec, **options: Any):
        nonlocal num_ended
        is_first = spec.cell.task.num_classes == 2
        if num_ended == 2 and not is_first:  # both seeds of the best rate of the first cell have ended
            raise KeyboardInterrupt
        result = run_trial(spec, **options)
        num_ended += is_first and spec.until is None
        return result

    with pytest.raises(InterruptedSweepError):
        launch(grid(), store=tmp_path, cluster=INLINE, run=interrupted)
    kept = {path.name for path in SweepFolder(tmp_path / "pruned").complete_checkpoints()}
    of_cell = [{str(row["trial_id"]) for row in rows(tmp_path, f"m = {m}")} for m in (2, 3)]
    assert len(of_cell[0]) == 8
    assert not kept & of_cell[0]
    assert kept <= of_cell[1]


def test_checkpoints_stay_until_the_results_of_their_cell_are_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: SweepWriter, pairs: list[Any]) -> None:
        fitting = [pair for pair in pairs if pair[1].status != "done"]
        append(self, fitting)
        if len(fitting) < len(pairs):
            raise StoreError("the disk is full")

    append = SweepWriter.append
    with monkeypatch.context() as patch:
        patch.setattr(SweepWriter, "append", full)
        with pytest.raises(InterruptedSweepError, match="the disk is full"):
            launch(grid(seeds="[0]"), store=tmp_path, cluster=INLINE)
    to_run = {spec.trial_id for spec in plan(grid(seeds="[0]"), store=tmp_path).to_run()}
    go_on = to_run & {str(row["trial_id"]) for row in rows(tmp_path, "status = 'pruned'")}
    assert go_on
    assert go_on <= {path.name for path in SweepFolder(tmp_path / "pruned").complete_checkpoints()}


def test_a_launch_removes_checkpoints_that_a_killed_one_has_left(tmp_path: Path) -> None:
    launch(grid(), store=tmp_path, cluster=INLINE)
    left = SweepFolder(tmp_path / "pruned").checkpoint(str(rows(tmp_path, "status = 'pruned'")[0]["trial_id"]))
    left.parent.mkdir()
    left.touch()
    launch(grid(), store=tmp_path, cluster=INLINE)
    assert not left.parent.exists()


def test_a_sweep_that_is_interrupted_at_any_trial_ends_as_an_undisturbed_one(pruned: Path, tmp_path: Path) -> None:
    num_starts = num_interrupts = 0

    def one_more(spec: TrialSpec, **options: Any):
        nonlocal num_starts
        num_starts += 1
        if num_starts % 4 == 0:
            raise KeyboardInterrupt
        return run_trial(spec, **options)

    while plan(grid(), store=tmp_path).num_to_run:
        with suppress(InterruptedSweepError):
            launch(grid(), store=tmp_path, cluster=INLINE, run=one_more)
        num_interrupts += 1
    assert num_interrupts > 3
    assert rows(tmp_path) == rows(pruned)


def test_without_the_pruner_the_pruned_trials_go_on(pruned: Path, tmp_path: Path) -> None:
    launch(grid(), store=tmp_path, cluster=INLINE)
    request = LaunchRequest.read(grid("{}"), store=tmp_path, cluster=INLINE)
    (reason,) = request.explain().reasons
    assert (reason.reason, reason.num_trials) == (Reason.PRUNED, 12)
    assert launch(request).ran == {"done": 12}
    assert Counter(row["status"] for row in rows(tmp_path)) == {"done": 16}


def test_other_sweeps_do_not_copy_pruned_trials(pruned: Path, tmp_path: Path) -> None:
    launch(grid(), store=tmp_path, cluster=INLINE)
    other = parse_grid(GRID.format(pruner="{}", rate=LISTED, seeds="[0, 1]").replace("name: pruned", "name: other"))
    assert {name: len(ids) for name, ids in plan(other, store=tmp_path).to_copy.items()} == {"pruned": 4}


def test_what_other_sweeps_have_does_not_change_what_is_pruned(pruned: Path, tmp_path: Path) -> None:
    worst = "{choices: [1e-1]}"
    text = GRID.format(pruner="{}", rate=worst, seeds="[0, 1]").replace("name: pruned", "name: other")
    launch(parse_grid(text), store=tmp_path, cluster=INLINE)
    launch(grid(), store=tmp_path, cluster=INLINE)
    assert rows(tmp_path, "sweep = 'pruned'") == rows(pruned)


def test_the_rounds_of_a_search_are_pruned_one_after_the_other(tmp_path: Path) -> None:
    searched = grid(rate=SEARCHED, seeds="[0]")
    summary = launch(searched, store=tmp_path, cluster=INLINE)
    assert summary.ran == {"done": 4, "pruned": 8}
    assert plan(searched, store=tmp_path).num_to_run == 0


def test_the_rows_of_an_asynchronous_pruner_say_that_they_do_not_repeat(pruned: Path, tmp_path: Path) -> None:
    wanted = grid("{kind: halving, first: 10, reduction: 2, asynchronous: true}")
    launch(wanted, store=tmp_path, cluster=INLINE)
    assert plan(wanted, store=tmp_path).state == "complete"
    assert not SweepFolder(tmp_path / "pruned").checkpoints.exists()
    assert {(row["status"], row["stop_reason"]) for row in rows(tmp_path)} == {
        ("done", "budget"),
        ("pruned", "asynchronous_rung"),
    }
    both = {row["trial_id"]: row for row in rows(pruned, "status = 'done'")}
    ended = [row for row in rows(tmp_path, "status = 'done'") if row["trial_id"] in both]
    assert ended, "the best rate goes on, whoever waits"
    assert all(row == {**both[row["trial_id"]], "selected": row["selected"]} for row in ended)
    (said,) = why("pruned", str(rows(tmp_path, "status = 'pruned'")[0]["trial_id"]), store=tmp_path)
    assert "behind others that had reached it: the pruner stopped it" in " ".join(
        describe_why(said, store=tmp_path).split()
    )


class HoldsOne(InlinePool):
    """Runs the first trial that goes on after a rung when no other is left."""

    held: Group | None = None
    has_run = False

    def submit(self, group: Group) -> None:
        if self.held is None and group.trials[0].until == 20:
            self.held = group
        else:
            super().submit(group)

    def wait(self, timeout_s: float) -> None:
        if self.held and self.accepts(Resources()):
            self.has_run = True
            super().submit(self.held)
        super().wait(timeout_s)


def test_the_checkpoints_of_a_cell_stay_while_a_trial_that_was_overtaken_runs(tmp_path: Path) -> None:
    def better_with_lower_rates(spec: TrialSpec, **options: Any) -> TrialResult:
        steps = spec.until or spec.cell.train.steps
        return TrialResult(
            trial_id=spec.trial_id,
            status="pruned" if spec.until else "done",
            stop_reason="rung" if spec.until else "budget",
            steps=steps,
            validation_accuracy=1 - spec.lr,
            rungs=tuple(Rung(step, 1 - spec.lr, spec.lr) for step in spec.rungs if step <= steps),
        )

    class Watched(Recorder):
        def drop_checkpoints(self, trial_ids: Iterable[str]) -> None:
            assert pool.has_run
            dropped.update(trial_ids)

    dropped: set[str] = set()
    asynchronous = "{kind: halving, first: 10, reduction: 2, asynchronous: true}"
    one_cell = GRID.replace("m: [2, 3]", "m: 2").format(pruner=asynchronous, rate=LISTED, seeds="[0]")
    wanted = plan(parse_grid(one_cell), store=tmp_path)
    with SweepWriter(tmp_path, "pruned") as writer, Watched(writer) as recorder:
        sweep = Sweep(wanted, recorder)
        pool = HoldsOne(better_with_lower_rates, emit=sweep.take)
        sweep.run(pool)
    assert pool.held
    assert pool.held.trials[0].trial_id in dropped


def test_a_trial_that_fails_after_a_rung_is_failed_and_the_sweep_ends(tmp_path: Path) -> None:
    def fails_later(spec: TrialSpec, **options: Any):
        if spec.until == 10:
            return run_trial(spec, **options)
        return TrialResult(trial_id=spec.trial_id, status="failed", error="no memory left")

    summary = launch(grid(seeds="[0]"), store=tmp_path, cluster=INLINE, run=fails_later)
    assert summary.ran["failed"] > 0
    assert (summary.num_left, summary.num_total) == (0, 8)
    assert Counter(row["status"] for row in rows(tmp_path)) == +Counter(summary.ran)


def test_why_says_that_the_pruner_stopped_a_trial(pruned: Path) -> None:
    trial = next(trial for trial in stored(pruned, "pruned").values() if trial.status == "pruned")
    (said,) = why("pruned", trial.trial_id, store=pruned)
    text = describe_why(said, store=pruned)
    assert f"at step {trial.steps}, its learning rate was behind others: the pruner" in " ".join(text.split())


@pytest.mark.parametrize(
    ("pruner", "said"),
    [
        ("first: 10", "halving at steps 10, 20, 40 leaves about 42%"),
        ("first: 10, asynchronous: true", "halving, asynchronous, at steps 10, 20, 40 leaves at least about 42%"),
        ("first: 60", "halving without effect: its first rung is step 60, where training has"),
    ],
)
def test_the_plan_says_where_the_pruner_compares(pruner: str, said: str, tmp_path: Path) -> None:
    wanted = grid(f"{{kind: halving, reduction: 2, {pruner}}}")
    explanation = LaunchRequest(grid=wanted, store=tmp_path, cluster=INLINE).explain()
    assert said in " ".join(describe_plan(explanation, store=tmp_path).split())
