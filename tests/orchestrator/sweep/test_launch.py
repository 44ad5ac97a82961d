from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from bilin.errors import ClusterError, InputError, InterruptedSweepError, SweepRunningError
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.monitor.sweep import SweepStatus, status, statuses
from bilin.orchestrator.sweep.launch import Summary, launch, plan
from bilin.orchestrator.sweep.loop import Sweep
from bilin.orchestrator.sweep.recorder import Recorder
from bilin.record import TrialResult
from bilin.results import SweepWriter, query, stored
from bilin.spec import Resources, TrialSpec
from bilin.workers.events import Emit, Lost
from bilin.workers.pool import Group
from tests.orchestrator.conftest import TINY
from tests.orchestrator.runs import no_op
from tests.sweeps import write_grid

Tiny = Callable[..., Grid]
INLINE = ClusterSpec(kind="inline")


def run(grid: Grid, store: Path, *, run: Callable[..., TrialResult] = no_op, retry: tuple[str, ...] = ()) -> Summary:
    return launch(grid, store=store, cluster=INLINE, run=run, retry=retry)


def failing(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
    return TrialResult(trial_id=spec.trial_id, status="failed", error="ValueError: no", traceback='  File "a", line 1')


def test_a_launch_runs_every_trial_and_a_second_one_none(tiny: Tiny, tmp_path: Path) -> None:
    first = run(tiny(), tmp_path)
    assert (first.num_found, first.ran, first.exit_code) == (0, {"done": 4}, 0)
    second = run(tiny(), tmp_path)
    assert (second.num_found, second.ran, second.exit_code) == (4, {}, 0)


def test_a_part_of_a_grid_leaves_the_checkpoints_of_the_rest(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, TINY.format(m="[2, 3]", rate="{choices: [1e-2]}", seeds="[0]", lengths="[10]"))
    folder = tmp_path / "tiny" / "checkpoints"
    folder.mkdir(parents=True)
    kept, half = folder / "0123456789abcdef", folder / "0123456789abcdef.89ab.new"
    for path in (kept, half):
        path.write_bytes(b"state")
    for only, stays in ((("m=2",), True), ((), False)):
        assert launch(grid, store=tmp_path, cluster=INLINE, run=no_op, only=only).ran == {"done": 1}
        assert kept.exists() == stays
        assert not half.exists(), "its writer was killed"
    assert not folder.exists()


def test_what_a_search_comes_to_ask_for_and_has_failed_before_counts(tiny: Tiny, tmp_path: Path) -> None:
    def second_fails(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        return failing(spec, report=None, checkpoints=None) if spec.lr == 1e-3 else no_op(spec)

    rate = "{choices: [1e-2, 1e-3], until_solved: true}"
    grid = tiny(m="[2]", rate=rate)
    assert run(grid, tmp_path, run=second_fails).exit_code == 1
    longer = run(tiny(m="[2]", rate=rate, lengths="[10, 50, 100]"), tmp_path, run=second_fails)
    assert (longer.ran, longer.num_failed, longer.exit_code) == ({"done": 1}, 1, 1)


def test_a_part_of_a_grid_leaves_what_the_searches_of_the_rest_have_named(tmp_path: Path) -> None:
    def solved(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        return dataclasses.replace(no_op(spec), solved=True)

    text = TINY.format(m="[2, 3]", rate="{choices: [1e-2, 1e-3]}", seeds="[0]", lengths="[10]")
    every, first = write_grid(tmp_path, text), tmp_path / "first.yaml"
    first.write_text(text.replace("1e-3]", "1e-3], until_solved: true"))
    for grid, only, num_shown in ((every, (), 4), (first, (), 2), (first, ("m=2",), 2)):
        launch(grid, store=tmp_path, cluster=INLINE, run=solved, only=only)
        assert query(store=tmp_path, view="trials").num_rows == num_shown


def test_deleted_trials_run_again_and_no_others(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    before = stored(tmp_path, "tiny")
    gone = sorted(before)[:2]
    with SweepWriter(tmp_path, "tiny") as writer:
        writer.delete(gone)
    ran: list[str] = []

    def watched(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        ran.append(spec.trial_id)
        return no_op(spec)

    run(tiny(), tmp_path, run=watched)
    assert sorted(ran) == gone
    assert stored(tmp_path, "tiny").keys() == before.keys()


def test_a_value_more_on_an_axis_runs_the_new_cells_alone(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    assert run(tiny(m="[2, 3, 5]"), tmp_path).ran == {"done": 2}


def test_more_rates_and_seeds_reuse_what_is_stored(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    more = run(tiny(rate="{choices: [1e-2, 1e-3, 1e-4]}", seeds="[0, 1]"), tmp_path)
    assert (more.num_found, more.ran) == (4, {"done": 8})


def test_a_new_tested_length_runs_the_selected_trials_again_and_replaces_their_rows(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    assert run(tiny(lengths="[10, 50, 100]"), tmp_path).ran == {"done": 2}
    tested = [set(trial.tested) for trial in stored(tmp_path, "tiny").values()]
    assert tested.count({10, 50, 100}) == tested.count({10, 50}) == 2
    assert run(tiny(lengths="[10]"), tmp_path).ran == {}, "fewer lengths are there already"


def test_failed_trials_are_left_alone_until_retry_names_them(tiny: Tiny, tmp_path: Path) -> None:
    failed = run(tiny(), tmp_path, run=failing)
    assert (failed.ran, failed.exit_code) == ({"failed": 4}, 1)
    again = run(tiny(), tmp_path)
    assert (again.ran, again.num_failed, again.exit_code) == ({}, 4, 1)
    retried = run(tiny(), tmp_path, retry=("failed",))
    assert (retried.ran, retried.exit_code) == ({"done": 4}, 0)


def test_lost_trials_run_again_by_themselves(tiny: Tiny, tmp_path: Path) -> None:
    def ended(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        return dataclasses.replace(failing(spec, report=report, checkpoints=None), status="lost")

    run(tiny(), tmp_path, run=ended)
    assert run(tiny(), tmp_path).ran == {"done": 4}


def test_a_retry_of_something_else_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 'lots'; accepted: failed, hardware, internal, oom"):
        run(tiny(), tmp_path / "store", retry=("lots",))
    assert not (tmp_path / "store").exists()


def test_the_same_error_in_ten_trials_stops_the_sweep(tiny: Tiny, tmp_path: Path) -> None:
    summary = run(tiny(seeds=list(range(20))), tmp_path, run=failing)
    assert summary.ran == {"failed": 10}
    assert summary.stopped is not None
    assert "ValueError: no" in summary.stopped
    assert summary.exit_code == 1


def test_an_interrupt_keeps_what_is_finished(tiny: Tiny, tmp_path: Path) -> None:
    ran: list[str] = []

    def interrupted(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(spec.trial_id)
        return no_op(spec)

    with pytest.raises(InterruptedSweepError, match="the same command continues"):
        run(tiny(), tmp_path, run=interrupted)
    assert sorted(stored(tmp_path, "tiny")) == sorted(ran)
    assert run(tiny(), tmp_path).ran == {"done": 2}


def test_a_sweep_that_is_being_run_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with SweepWriter(tmp_path, "tiny"), pytest.raises(SweepRunningError, match="process"):
        run(tiny(), tmp_path)


def test_until_solved_runs_no_rate_after_the_one_that_solved(tiny: Tiny, tmp_path: Path) -> None:
    summary = run(tiny(rate="{choices: [1e-2, 1e-3, 1e-4], until_solved: true}"), tmp_path)
    assert summary.ran == {"done": 4}
    assert {trial.lr for trial in stored(tmp_path, "tiny").values()} == {1e-2, 1e-3}
    assert run(tiny(rate="{choices: [1e-2, 1e-3, 1e-4], until_solved: true}"), tmp_path).ran == {}


def test_log_uniform_asks_the_same_after_an_interrupt(tiny: Tiny, tmp_path: Path) -> None:
    grid = tiny(m=2, rate="{log_uniform: [1e-5, 1e-2], trials: 12, round: 4}")
    run(grid, tmp_path / "whole")
    count = 0

    def interrupted(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        nonlocal count
        count += 1
        if count % 3 == 0:
            raise KeyboardInterrupt
        return no_op(spec)

    for _ in range(20):
        try:
            run(grid, tmp_path / "pieces", run=interrupted)
        except InterruptedSweepError:
            continue
        break
    assert stored(tmp_path / "pieces", "tiny").keys() == stored(tmp_path / "whole", "tiny").keys()


def test_a_plan_writes_nothing(tiny: Tiny, tmp_path: Path) -> None:
    made = plan(tiny(), store=tmp_path / "store")
    assert (made.num_wanted, made.num_to_run, made.num_done) == (4, 4, 0)
    assert made.estimate.num_unknown == 4
    assert not (tmp_path / "store").exists()


def test_a_plan_estimates_from_stored_trials_of_the_same_shape(tiny: Tiny, tmp_path: Path) -> None:
    def timed(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        return dataclasses.replace(no_op(spec), wall_s=3.0)

    run(tiny(), tmp_path, run=timed)
    made = plan(tiny(seeds="[0, 1]"), store=tmp_path)
    assert (made.estimate.seconds, made.estimate.num_stored, made.estimate.num_unknown) == (12.0, 4, 0)


def test_views_show_the_rates_that_the_search_names_and_no_others(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(m=2), tmp_path)  # 1e-2, and 1e-3, which lies within the bounds of the search that follows: it counts
    searched = run(tiny(m=2, rate="{log_uniform: [1e-4, 5e-3], trials: 4, round: 4}"), tmp_path)
    lrs = query(store=tmp_path, view="trials")["lr"].to_pylist()
    assert len(lrs) == 4 == sum(searched.ran.values()) + 1
    assert 1e-3 in lrs
    assert 1e-2 not in lrs
    assert query(store=tmp_path, view="trials", everything=True).num_rows == sum(searched.ran.values()) + 2


def test_a_cluster_that_does_not_come_up_leaves_the_grid_as_it_was(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    with pytest.raises(ClusterError):
        launch(tiny(m="[5, 7, 9]"), store=tmp_path, cluster=ClusterSpec(kind="ray", address="127.0.0.1:1"))
    assert status("tiny", store=tmp_path).plan.num_done == 4


def test_a_trial_whose_worker_always_dies_is_lost_after_three_attempts(tiny: Tiny, tmp_path: Path) -> None:
    made = plan(tiny(m=2), store=tmp_path)
    with SweepWriter(tmp_path, "tiny") as writer, Recorder(writer) as recorder:
        sweep = Sweep(made, recorder)
        pool = DyingPool(sweep.take)
        sweep.run(pool)
    rows = query(store=tmp_path, view="trials", everything=True).to_pylist()
    assert [(row["status"], row["attempts"]) for row in rows] == [("lost", 3)] * 2
    assert pool.started == 6


def test_a_sweep_that_cannot_be_read_does_not_hide_the_others(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    with SweepWriter(tmp_path, "half"):
        pass  # killed before it stored its grid
    found = statuses(store=tmp_path)
    assert isinstance(found["tiny"], SweepStatus)
    assert isinstance(found["half"], InputError)


class DyingPool:
    """A pool whose workers die with whatever they are given."""

    def num_workers(self, resources: Resources) -> int:
        return 1

    def __init__(self, emit: Emit) -> None:
        self.started = 0
        self._emit = emit
        self._groups: list[Group] = []

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        return not self._groups

    def submit(self, group: Group) -> None:
        self.started += 1
        self._groups.append(group)

    def wait(self, timeout_s: float) -> None:
        groups, self._groups = self._groups, []
        for spec in (spec for group in groups for spec in group.trials):
            self._emit(Lost(trial_id=spec.trial_id, reason=""))

    def cancel(self, trial_id: str) -> None:
        raise AssertionError

    def keep(self, timeout_s: float) -> None:
        raise AssertionError

    def close(self) -> None:
        return
