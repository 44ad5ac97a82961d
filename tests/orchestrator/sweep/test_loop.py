"""How a sweep gives trials to workers, and what it makes of workers that are lost and come back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from bilin.orchestrator import ClusterSpec, launch
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.planning.plan import make_plan
from bilin.orchestrator.sweep.loop import Sweep
from bilin.orchestrator.sweep.queues import GROUP_S
from bilin.orchestrator.sweep.recorder import Recorder
from bilin.orchestrator.sweep.snapshot import Snapshot
from bilin.results import SweepWriter, query
from bilin.spec import Resources
from bilin.workers.actors import pool as ray_pool
from bilin.workers.environment import environment
from bilin.workers.events import Emit, Finished, Lost
from bilin.workers.pool import Group
from tests.orchestrator.runs import no_op
from tests.workers.pool_runs import StandsStill

Tiny = Callable[..., Grid]


class OneWorker:
    """A pool of one worker, whose trials all take the same time."""

    def num_workers(self, resources: Resources) -> int:
        return 1

    def __init__(self, emit: Emit, wall_s: float) -> None:
        self.emit, self.wall_s = emit, wall_s
        self.groups: list[Group] = []
        self.is_busy = False

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        return not self.is_busy

    def submit(self, group: Group) -> None:
        self.groups.append(group)
        self.is_busy = True

    def wait(self, timeout_s: float) -> None:
        self.is_busy = False
        for spec in self.groups[-1].trials:
            self.emit(Finished(result=dataclasses.replace(no_op(spec), wall_s=self.wall_s)))

    def cancel(self, trial_id: str) -> None:
        raise AssertionError

    def keep(self, timeout_s: float) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("wall_s", "sizes"),
    [(GROUP_S / 3, [1, 3, 3, 3]), (1.5 * GROUP_S, [1] * 10), (0.0, [1] * 10)],
    ids=["short", "long", "not measured"],
)
def test_short_trials_of_one_shape_share_a_call(tiny: Tiny, tmp_path: Path, wall_s: float, sizes: list[int]) -> None:
    plan = make_plan(tiny(m=2, rate="{choices: [1e-3]}", seeds=list(range(10))), {})
    with SweepWriter(tmp_path, "tiny") as writer, Recorder(writer) as recorder:
        sweep = Sweep(plan, recorder)
        pool = OneWorker(sweep.take, wall_s)
        sweep.run(pool)
    assert [len(group.trials) for group in pool.groups] == sizes
    assert sweep.snapshot().ended == {"done": 10}


@pytest.mark.parametrize(("pack", "sizes"), [(16, [16, 16, 4]), (1, [16] + [1] * 20)])
def test_a_shape_that_trains_alone_is_given_out_one_by_one(
    tiny: Tiny, tmp_path: Path, pack: int, sizes: list[int]
) -> None:
    class SaysItsPack(OneWorker):
        def wait(self, timeout_s: float) -> None:
            self.is_busy = False
            for spec in self.groups[-1].trials:
                ran = environment(spec.cell, spec.resources, pack=pack)
                self.emit(Finished(result=dataclasses.replace(no_op(spec), wall_s=self.wall_s, environment=ran)))

    plan = make_plan(tiny(m=2, rate="{choices: [1e-3]}", seeds=list(range(36))), {})
    with SweepWriter(tmp_path, "tiny") as writer, Recorder(writer) as recorder:
        sweep = Sweep(plan, recorder, packs=True)
        pool = SaysItsPack(sweep.take, 1.0)
        sweep.run(pool)
    assert [len(group.trials) for group in pool.groups] == sizes


class LosesGroups(OneWorker):
    """A pool whose worker dies of one trial, whatever else it runs."""

    def __init__(self, emit: Emit, seed: int) -> None:
        super().__init__(emit, 0.0)
        self.seed = seed

    def wait(self, timeout_s: float) -> None:
        trials = self.groups[-1].trials
        if not any(spec.seed == self.seed for spec in trials):
            super().wait(timeout_s)
            return
        self.is_busy = False
        for spec in trials:
            self.emit(Lost(trial_id=spec.trial_id, reason=f"worker {len(self.groups)} died"))


def test_the_trials_of_a_lost_pack_run_again_in_smaller_packs_and_at_last_alone(tiny: Tiny, tmp_path: Path) -> None:
    plan = make_plan(tiny(m=2, rate="{choices: [1e-3]}", seeds=list(range(16))), {})
    with SweepWriter(tmp_path, "tiny") as writer, Recorder(writer) as recorder:
        sweep = Sweep(plan, recorder, packs=True)
        pool = LosesGroups(sweep.take, seed=5)
        sweep.run(pool)
    assert [len(group.trials) for group in pool.groups] == [16, 4, 4, 4, 1, 1, 1, 1, 4]
    assert sweep.snapshot().ended == {"done": 15, "lost": 1}
    notes = [note.partition(":")[2] for note in sweep.snapshot().notes]
    assert [note.partition(",")[0] for note in notes[:2]] == [f" worker lost (attempt {n} of 3)" for n in (1, 2)]
    assert "lost" in notes[2], "one note for each worker that died, and one for the trial that was lost"
    assert len(notes) == 3


@pytest.mark.ray
def test_the_first_result_counts_also_from_a_worker_that_was_taken_for_lost(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "SILENCE_S", 4.0)
    run = StandsStill(tmp_path)
    notes: list[str] = []

    def watch(snapshot: Snapshot) -> None:
        notes.extend(snapshot.notes[len(notes) :])
        for trial in snapshot.running:
            if trial.step:
                run.hear()
            if trial.attempt == 2:
                run.let_go()

    summary = launch(
        tiny(m=2, rate="{choices: [1e-3]}"),
        store=tmp_path / "store",
        cluster=ClusterSpec(workers=2),
        run=run,
        observer=watch,
    )
    assert summary.ran == {"done": 1}
    (attempts,) = query(store=tmp_path / "store", view="trials", everything=True)["attempts"].to_pylist()
    assert attempts >= 2
    assert "silent for 4 s" in notes[0]
