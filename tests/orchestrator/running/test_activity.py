"""What a sweep says on disk of what it does."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bilin.orchestrator import ClusterSpec, launch
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.planning.plan import make_plan
from bilin.orchestrator.running.activity import ACTIVITY, Activity, ActivityFile, RunningTrial, read_activity
from bilin.orchestrator.running.progress import Running, SweepState
from bilin.record import Progress, TrialResult
from bilin.spec import TrialSpec
from tests.orchestrator.runs import no_op
from tests.sweeps import wait_until

Tiny = Callable[..., Grid]


@pytest.fixture
def state(tiny: Tiny) -> SweepState:
    return SweepState(make_plan(tiny(), {}))


def test_what_runs_is_on_disk_while_it_runs_and_gone_at_the_end(tiny: Tiny, tmp_path: Path) -> None:
    seen: list[Activity] = []

    def run(spec: TrialSpec, *, report: Callable[[Progress], None], checkpoints: object) -> TrialResult:
        read = read_activity(tmp_path / "tiny")
        assert read is not None
        seen.append(read)
        return no_op(spec)

    launch(tiny(m=2, rate="{choices: [1e-3]}"), store=tmp_path, cluster=ClusterSpec(kind="inline"), run=run)
    (activity,) = seen
    (trial,) = activity.running
    assert (activity.host, activity.pid, activity.num_left) == (socket.gethostname(), os.getpid(), 1)
    assert (trial.lr, trial.seed, trial.attempt, trial.max_steps) == (1e-3, 0, 1, 20)
    assert abs(activity.at - time.time()) < 60
    assert list((tmp_path / "tiny").glob(f"{ACTIVITY}*")) == []


@pytest.mark.ray
def test_a_trial_on_a_worker_says_where_it_is_and_keeps_what_it_prints_and_no_secret(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hush-hush")
    grid = tiny(m=2, rate="{choices: [1e-3]}")
    said: list[RunningTrial] = []

    def observer(state: SweepState) -> None:
        activity = read_activity(tmp_path / "store" / "tiny")
        said.extend(trial for trial in activity.running if trial.host) if activity else None

    def run(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        print("on the way")
        assert wait_until((tmp_path / "seen").exists, 100)
        return no_op(spec)

    def observe(state: SweepState) -> None:
        observer(state)
        if said:
            (tmp_path / "seen").touch()

    launch(grid, store=tmp_path / "store", cluster=ClusterSpec(workers=1), run=run, observer=observe)
    assert (said[0].step, said[0].host, said[0].worker) == (0, socket.gethostname(), "ray-1")
    assert said[0].pid not in (None, os.getpid())
    (log,) = (tmp_path / "store" / "tiny" / "logs").iterdir()
    head, line = log.read_text().splitlines()
    assert (head.endswith(f", process {said[0].pid}"), line) == (True, "on the way")
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file() and b"hush" in path.read_bytes()]


def test_what_is_read_is_what_was_written(state: SweepState, tmp_path: Path) -> None:
    first, second = (spec for spec, _ in zip(state.plan.missing(), range(2), strict=False))
    progress = Progress(trial_id=first.trial_id, step=7, max_steps=20, loss=0.5, accuracy=0.75)
    state.running = {first.trial_id: Running(first, 2, progress=progress)}
    state.again = {second.trial_id: "worker lost"}
    ActivityFile(tmp_path)(state)
    activity = read_activity(tmp_path)
    assert activity is not None
    trial = activity.trial(first.trial_id)
    assert trial is not None
    assert (trial.attempt, trial.step, trial.loss, trial.accuracy) == (2, 7, 0.5, 0.75)
    assert (activity.again, activity.ended, activity.narrowed) == (state.again, {}, False)
    assert activity.trial(second.trial_id) is None


def test_the_file_is_replaced_no_more_often_than_its_period(state: SweepState, tmp_path: Path) -> None:
    file = ActivityFile(tmp_path)
    file(state)
    (tmp_path / ACTIVITY).unlink()
    file(state)
    assert not (tmp_path / ACTIVITY).exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"running": [{}]}', '{"running": [], "what": 1}', "\x00"])
def test_a_file_that_is_none_says_nothing(content: str, tmp_path: Path) -> None:
    assert read_activity(tmp_path) is None
    (tmp_path / ACTIVITY).write_text(content)
    assert read_activity(tmp_path) is None


def test_a_folder_that_cannot_be_written_stops_nothing(state: SweepState, tmp_path: Path) -> None:
    ActivityFile(tmp_path / "gone")(state)
