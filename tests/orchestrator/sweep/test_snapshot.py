"""What a snapshot shows of a sweep, in memory and on disk."""

from __future__ import annotations

import dataclasses
import io
import os
import socket
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from bilin.cli.sweep.display import View
from bilin.folder import SweepFolder
from bilin.orchestrator import ClusterSpec, Snapshot, launch
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.planning.plan import make_plan
from bilin.orchestrator.sweep.loop import Sweep
from bilin.orchestrator.sweep.progress import progress_line, progress_line_with_step
from bilin.orchestrator.sweep.recorder import Recorder
from bilin.orchestrator.sweep.snapshot import RunningTrial, SnapshotFile, read_snapshot
from bilin.record import Progress, TrialResult
from bilin.results import SweepWriter
from bilin.spec import Resources, TrialSpec
from bilin.workers.events import Checkpointed, Emit, Finished, Lost, Started
from bilin.workers.pool import Group
from tests.orchestrator.runs import no_op
from tests.sweeps import wait_until

Tiny = Callable[..., Grid]


class StopLoop(BaseException):
    """Ends the loop of a sweep."""


class ScriptedPool:
    """A pool of four workers: of the trials that it gets, one is lost, one runs, one fails, one is done."""

    def num_workers(self, resources: Resources) -> int:
        return 4

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.trials: list[TrialSpec] = []

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        return len(self.trials) < 4

    def submit(self, group: Group) -> None:
        self.trials += group.trials

    def cancel(self, trial_id: str) -> None:
        raise AssertionError

    def keep(self, timeout_s: float) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError

    def wait(self, timeout_s: float) -> None:
        lost, runs, fails, done = self.trials
        self.trials = []
        self.emit(Started(trial_id=runs.trial_id, host="node1", pid=7, worker="ray-2", node="n"))
        self.emit(Progress(trial_id=runs.trial_id, step=5, max_steps=20, loss=0.5, accuracy=0.75))
        self.emit(Checkpointed(trial_id=runs.trial_id, step=4))
        self.emit(Lost(trial_id=lost.trial_id, reason="no power", node="n"))
        self.emit(Finished(result=dataclasses.replace(no_op(fails), status="failed", error="OddError: no")))
        self.emit(Finished(result=no_op(done)))
        raise StopLoop


@pytest.fixture
def trials(tiny: Tiny) -> list[TrialSpec]:
    return list(make_plan(tiny(), {}).to_run())


@pytest.fixture
def snapshot(tiny: Tiny, tmp_path: Path) -> Snapshot:
    """A sweep of four trials, of which one waits after its worker was lost, one runs, one failed and one is done."""
    with SweepWriter(tmp_path / "store", "tiny") as writer, Recorder(writer) as recorder:
        sweep = Sweep(make_plan(tiny(), {}), recorder)
        with pytest.raises(StopLoop):
            sweep.run(ScriptedPool(sweep.take))
    return sweep.snapshot()


def test_a_snapshot_counts_what_has_ended_runs_and_waits(snapshot: Snapshot, trials: list[TrialSpec]) -> None:
    lost, runs, fails, done = trials
    assert (snapshot.sweep, snapshot.num_cells, snapshot.num_wanted) == ("tiny", 2, 4)
    assert snapshot.ended == {"failed": 1, "done": 1}
    assert (snapshot.num_done, snapshot.num_failed, snapshot.num_ended, snapshot.num_open) == (1, 1, 2, 2)
    assert snapshot.num_total == 4
    assert snapshot.seconds_left is not None
    (running,) = snapshot.running
    since = running.since
    assert running == RunningTrial(
        trial_id=runs.trial_id,
        cell_id=runs.cell.cell_id,
        label="modular_addition m=2 · real_diagonal",
        lr=runs.lr,
        seed=0,
        attempt=1,
        since=since,
        max_steps=20,
        worker="ray-2",
        host="node1",
        pid=7,
        step=5,
        loss=0.5,
        accuracy=0.75,
        checkpoint_step=4,
    )
    assert snapshot.retries == {lost.trial_id: "worker lost (attempt 1 of 3), runs again: no power"}
    assert snapshot.notes == (
        f"{lost.trial_id}: worker lost (attempt 1 of 3), runs again: no power",
        f"{fails.trial_id}: failed: OddError: no\n  more: bilin sweep show {fails.trial_id} --sweep tiny",
    )
    assert [(leader.trial_id, leader.solved) for leader in snapshot.leaders] == [(done.trial_id, True)]


def test_running_trials_are_not_to_go_and_their_step_is_shown_until_one_has_ended(snapshot: Snapshot) -> None:
    assert "1 done · 1 running · 1 failed · 1 to go · " in progress_line_with_step(snapshot)
    begun = dataclasses.replace(snapshot, ended={}, num_open=4, steps_per_s=0.0)
    assert (
        progress_line_with_step(begun)
        == "tiny: 0 done · 1 running · 3 to go · modular_addition m=2 · real_diagonal: step 5 of 20"
    )


def test_steps_and_packs_of_running_trials_are_counted(tiny: Tiny, tmp_path: Path) -> None:
    class OnePack(ScriptedPool):
        """A pool of one pack, of which one trial goes on from a checkpoint, and another one ends."""

        def num_workers(self, resources: Resources) -> int:
            return 1

        def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
            return not self.trials

        def wait(self, timeout_s: float) -> None:
            first, second, third, *_ = self.trials
            for trial in (first, second, third):
                self.emit(Started(trial_id=trial.trial_id, host="node1", pid=7, worker="ray-2", node="n"))
            for step in (7, 9):
                self.emit(Progress(trial_id=first.trial_id, step=step, max_steps=20, began=5))
            self.emit(Finished(result=dataclasses.replace(no_op(second), steps=10)))
            raise StopLoop

    with SweepWriter(tmp_path / "store", "tiny") as writer, Recorder(writer) as recorder:
        plan = make_plan(tiny(m=2, rate="{choices: [1e-3]}", seeds=[0, 1, 2, 3]), {})
        sweep = Sweep(plan, recorder, packs=True)
        with pytest.raises(StopLoop):
            sweep.run(OnePack(sweep.take))
    seen = sweep.snapshot()
    assert "1 to go" in progress_line(seen), "a worker that trains one after the other has not begun the fourth"
    assert round(seen.steps_per_s * seen.num_ended / seen.trials_per_s) == 4 + 10
    assert (len(seen.running), seen.num_packs) == (2, 1)
    assert "2 running in 1 pack · " in progress_line(seen)
    assert progress_line(seen).endswith(" steps/s")


def test_a_terminal_cuts_the_names_of_cells_and_no_number(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    running = dataclasses.replace(
        snapshot.running[0], label="a name of a cell " * 5, searched={"weight_decay": 9.15e-5}, accuracy=0.5
    )
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80, height=25)
    with Live(console=console, auto_refresh=False) as live:
        View(live)(dataclasses.replace(snapshot, running=(running,), leaders=()))
    assert "… " in shown.getvalue()
    point = f"lr={running.lr:g} weight_decay=9.15e-05"
    assert f"{point}     {running.seed}  {running.step}/{running.max_steps}     0.500" in shown.getvalue()


def test_what_is_read_is_what_was_written(snapshot: Snapshot, tmp_path: Path) -> None:
    SnapshotFile(SweepFolder(tmp_path))(snapshot)
    assert read_snapshot(SweepFolder(tmp_path)) == snapshot


def test_what_runs_is_on_disk_while_it_runs_and_gone_at_the_end(tiny: Tiny, tmp_path: Path) -> None:
    folder, seen = SweepFolder(tmp_path / "tiny"), list[Snapshot]()

    def run(spec: TrialSpec, *, report: Callable[[Progress], None], checkpoints: object) -> TrialResult:
        read = read_snapshot(folder)
        assert read is not None
        seen.append(read)
        return no_op(spec)

    launch(tiny(m=2, rate="{choices: [1e-3]}"), store=tmp_path, cluster=ClusterSpec(kind="inline"), run=run)
    (snapshot,) = seen
    (trial,) = snapshot.running
    assert (snapshot.host, snapshot.pid, snapshot.num_open) == (socket.gethostname(), os.getpid(), 1)
    assert (trial.lr, trial.seed, trial.attempt, trial.max_steps) == (1e-3, 0, 1, 20)
    assert abs(snapshot.at - time.time()) < 60
    assert list(folder.path.glob(f"{folder.snapshot.name}*")) == []


@pytest.mark.ray
def test_a_trial_on_a_worker_says_where_it_is_and_keeps_what_it_prints_and_no_secret(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hush-hush")
    grid = tiny(m=2, rate="{choices: [1e-3]}")
    begun: list[RunningTrial] = []

    def run(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        print("on the way")
        assert wait_until((tmp_path / "seen").exists, 100)
        return no_op(spec)

    def observe(_: Snapshot) -> None:
        snapshot = read_snapshot(SweepFolder(tmp_path / "store" / "tiny"))
        begun.extend(trial for trial in snapshot.running if trial.host) if snapshot else None
        if begun:
            (tmp_path / "seen").touch()

    launch(grid, store=tmp_path / "store", cluster=ClusterSpec(workers=1), run=run, observer=observe)
    assert (begun[0].step, begun[0].host, begun[0].worker) == (0, socket.gethostname(), "ray-1")
    assert begun[0].pid not in (None, os.getpid())
    (log,) = (tmp_path / "store" / "tiny" / "logs").iterdir()
    head, line = log.read_text().splitlines()
    assert (head.endswith(f", process {begun[0].pid}"), line) == (True, "on the way")
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file() and b"hush" in path.read_bytes()]


def test_the_file_is_replaced_no_more_often_than_its_period(snapshot: Snapshot, tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    file = SnapshotFile(folder)
    file(snapshot)
    folder.snapshot.unlink()
    file(snapshot)
    assert not folder.snapshot.exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"running": [{}]}', '{"running": [], "what": 1}', "\x00"])
def test_a_file_that_holds_no_snapshot_is_passed_over(content: str, tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    assert read_snapshot(folder) is None
    folder.snapshot.write_text(content)
    assert read_snapshot(folder) is None


def test_a_folder_that_cannot_be_written_stops_nothing(snapshot: Snapshot, tmp_path: Path) -> None:
    SnapshotFile(SweepFolder(tmp_path / "gone"))(snapshot)
