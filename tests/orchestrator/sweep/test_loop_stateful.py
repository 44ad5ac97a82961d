"""The loop of a sweep under random events, on a pool with a virtual clock."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilin.failures import MAX_ATTEMPTS, MAX_SAME_ERRORS
from bilin.orchestrator.grid import Grid, parse_grid
from bilin.orchestrator.planning.asked import Asked
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.orchestrator.planning.search import Key, decide
from bilin.orchestrator.sweep import loop
from bilin.orchestrator.sweep.loop import Sweep
from bilin.orchestrator.sweep.recorder import Recorder
from bilin.orchestrator.sweep.snapshot import Snapshot
from bilin.record import Progress, Status, TrialResult
from bilin.results import StoredTrial
from bilin.rules import Outcome
from bilin.spec import Point, Resources, TrialSpec
from bilin.workers.events import Cancelled, Checkpointed, Emit, Finished, Lost, Started
from bilin.workers.pool import Group
from tests.examples import examples
from tests.orchestrator.conftest import TINY

SEARCHES = (
    "{choices: [1e-2, 1e-3, 1e-4]}",
    "{choices: [1e-2, 1e-3, 1e-4], until_solved: true}",
    "{log_uniform: [1e-5, 1e-2], trials: 4, round: 2}",
)
GRIDS = [parse_grid(TINY.format(m="[2, 3]", rate=search, seeds="[0, 1]", lengths="[10]")) for search in SEARCHES]
NODES = ("a", "b")
NUM_WORKERS = 3
RANDOM_S = 40.0
"""Afterwards nothing happens but that trials finish."""

STATUSES: tuple[Status, ...] = ("done", "done", "diverged", "failed", "oom", "hardware", "internal")
ACTIONS = ("finish", "finish", "finish", "lose", "late", "cancel", "report", "resize", "nothing", "interrupt")


class Clock:
    """A clock that goes on only when the pool waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return 1e9 + self.now

    def monotonic(self) -> float:
        return self.now


class Records:
    """Takes results as the recorder does; each trial has one at most."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[TrialSpec, TrialResult]] = {}
        self.asked: dict[str, tuple[Point, ...]] = {}

    def keep_asked(self, asked: Asked) -> None:
        for cell_id, lrs in asked.items():
            assert tuple(lrs)[: len(self.asked.get(cell_id, ()))] == self.asked.get(cell_id, ()), (
                "what was asked stays asked"
            )
            self.asked[cell_id] = tuple(lrs)

    def put(self, spec: TrialSpec, result: TrialResult) -> None:
        assert result.trial_id == spec.trial_id
        assert spec.trial_id not in self.rows, "a trial ends once"
        self.rows[spec.trial_id] = spec, result

    def check(self) -> None:
        pass


@dataclasses.dataclass
class Attempt:
    """A trial that a worker was given; the worker, which has a number, runs the trials of a group in their order.

    One of a group counts as running when the worker says that it has started.
    """

    spec: TrialSpec
    worker: int
    node: str
    is_running: bool
    is_cancelled: bool = False


class RandomPool:
    """A pool of three workers on two nodes, on which anything may happen."""

    def __init__(self, draw: Any, clock: Clock, plan: Plan, records: Records, emit: Emit) -> None:
        self.draw, self.clock, self.plan, self.records, self.emit = draw, clock, plan, records, emit
        self.running: dict[str, Attempt] = {}
        self.silent: list[Attempt] = []
        self.submitted: Counter[str] = Counter()
        self.num_submitted = 0
        self.size = NUM_WORKERS
        self.failed_on: dict[str, set[str]] = {}
        self.accepted: tuple[Resources, Collection[str]] | None = None

    def num_workers(self, resources: Resources) -> int:
        return self.size

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        self.accepted = (resources, avoid) if len(self.busy()) < self.size else None
        return self.accepted is not None

    def submit(self, group: Group) -> None:
        assert self.accepted == (group.resources, group.avoid), "only what was accepted is submitted"
        nodes = [node for node in NODES if node not in group.avoid] or NODES
        node = self.draw(st.sampled_from(nodes))
        self.num_submitted += 1
        for spec in group.trials:
            assert spec.trial_id not in self.running, "a trial runs once at a time"
            assert spec.trial_id not in self.records.rows, "a trial that has ended does not run"
            assert (spec.point, spec.seed) in asked(self.plan, self.records, spec), "only what is asked for runs"
            assert group.avoid == self.failed_on.get(spec.trial_id, set()), "nodes that failed are avoided"
            self.submitted[spec.trial_id] += 1
            assert len(group.trials) == 1 or self.submitted[spec.trial_id] < MAX_ATTEMPTS, "the last attempt is alone"
            self.running[spec.trial_id] = Attempt(spec, self.num_submitted, node, is_running=len(group.trials) == 1)

    def busy(self) -> dict[int, list[Attempt]]:
        """What each worker has left of its group."""
        busy: dict[int, list[Attempt]] = {}
        for attempt in self.running.values():
            busy.setdefault(attempt.worker, []).append(attempt)
        return busy

    def wait(self, timeout_s: float) -> None:
        self.clock.now += timeout_s
        is_random = self.clock.now <= RANDOM_S
        action = self.draw(st.sampled_from(ACTIONS)) if is_random else "finish"
        if action == "interrupt":
            raise KeyboardInterrupt
        if action == "resize" or not is_random:
            self.size = self.draw(st.integers(0, NUM_WORKERS)) if is_random else NUM_WORKERS
        if action == "late" and self.silent:
            attempt = self.silent.pop(self.draw(st.integers(0, len(self.silent) - 1)))
            self.emit(Finished(result=self.result(attempt.spec, is_random), node=attempt.node, is_late=True))
        elif self.running and action != "resize":
            busy = self.busy()
            self.happen(action, busy[self.draw(st.sampled_from(sorted(busy)))], is_random)

    def happen(self, action: str, group: list[Attempt], is_random: bool) -> None:
        attempt = group[-1] if action == "cancel" else group[0]
        trial_id = attempt.spec.trial_id
        if action == "report":
            attempt.is_running = True
            self.emit(Started(trial_id=trial_id, host=attempt.node, pid=1, worker="w", node=attempt.node))
            self.emit(Progress(trial_id=trial_id, step=5, max_steps=20))
            self.emit(Checkpointed(trial_id=trial_id, step=5))
        elif action == "cancel" or (attempt.is_cancelled and action != "nothing"):
            del self.running[trial_id]
            self.emit(Cancelled(trial_id=trial_id, step=5))
        elif action == "lose":
            statuses: tuple[Status, ...] = ("lost", "lost", "hardware", "oom") if len(group) == 1 else ("lost",)
            status = self.draw(st.sampled_from(statuses))
            self.silent += group if status == "lost" else []
            self.lose(group, status)
        elif action == "finish":
            del self.running[trial_id]
            result = self.result(attempt.spec, is_random)
            self.note_failure(attempt, result.status)
            self.emit(Finished(result=result, node=attempt.node))
            if result.status in ("hardware", "oom"):
                self.lose(group[1:], "lost")

    def lose(self, attempts: list[Attempt], status: Status) -> None:
        for attempt in attempts:
            if self.running.pop(attempt.spec.trial_id, None):
                self.note_failure(attempt, status)
                self.emit(Lost(trial_id=attempt.spec.trial_id, reason="gone", status=status, node=attempt.node))

    def note_failure(self, attempt: Attempt, status: Status) -> None:
        trial_id = attempt.spec.trial_id
        if status == "hardware" and trial_id not in self.records.rows and self.submitted[trial_id] < 3:
            self.failed_on.setdefault(trial_id, set()).add(attempt.node)

    def result(self, spec: TrialSpec, is_random: bool) -> TrialResult:
        status: Status = self.draw(st.sampled_from(STATUSES)) if is_random else "done"
        is_done = status == "done"
        return TrialResult(
            trial_id=spec.trial_id,
            status=status,
            solved=is_done and self.draw(st.booleans()),
            validation_accuracy=self.draw(st.sampled_from((0.25, 0.5, 1.0))) if is_done else None,
            training_loss=0.5 if is_done else None,
            wall_s=self.draw(st.sampled_from((0.001, 0.04, 1.0))),
            error=None if status in ("done", "diverged") else f"{status}: {self.draw(st.sampled_from('ab'))}",
        )

    def cancel(self, trial_id: str) -> None:
        assert trial_id in self.running
        self.running[trial_id].is_cancelled = True

    def keep(self, timeout_s: float) -> None:
        raise AssertionError("the launch asks for checkpoints, not the loop")

    def close(self) -> None:
        raise AssertionError("who opens a pool closes it")


def asked(plan: Plan, records: Records, spec: TrialSpec) -> set[Key]:
    """What the decision function asks of a trial's cell, on what is stored and recorded."""
    (cell,) = (cell for cell in plan.cells if cell.wanted.cell_id == spec.cell.cell_id)
    known = dict(cell.known)
    for other, result in records.rows.values():
        if other.cell == spec.cell:
            known[other.point, other.seed] = Outcome.of(other.point, other.seed, result)
    asks = decide(cell.wanted, known, records.asked.get(cell.wanted.cell_id, ()))
    return {ask.key for ask in asks}


def stored(rows: Mapping[str, tuple[TrialSpec, TrialResult]]) -> dict[str, StoredTrial]:
    """What a store would have of recorded results."""
    return {
        trial_id: StoredTrial(
            trial_id=trial_id,
            cell_id=spec.cell.cell_id,
            lr=spec.lr,
            seed=spec.seed,
            status=result.status,
            attempts=result.attempts,
            solved=result.solved,
            validation_accuracy=result.validation_accuracy,
            training_loss=result.training_loss,
            steps=result.steps,
            wall_s=0.0,
            tested={10: 16},
        )
        for trial_id, (spec, result) in rows.items()
    }


def launch(
    draw: Any,
    clock: Clock,
    grid: Grid,
    rows: dict[str, tuple[TrialSpec, TrialResult]],
    asked: dict[str, tuple[Point, ...]],
) -> bool:
    """Run what is missing, check it, and add the results to the rows; return whether the sweep came to its end."""
    plan, records, snapshots = make_plan(grid, stored(rows), asked=asked), Records(), list[Snapshot]()
    sweep = Sweep(plan, cast(Recorder, records), snapshots.append)
    pool = RandomPool(draw, clock, plan, records, sweep.take)
    is_interrupted = False
    try:
        sweep.run(pool)
    except KeyboardInterrupt:
        is_interrupted = True
    check_counts(plan, records, pool, sweep.snapshot())
    for before, after in itertools.pairwise(snapshots):
        assert after.at - before.at >= loop.OBSERVE_S or after is snapshots[-1]
    kept = {trial_id for trial_id, (_, result) in rows.items() if result.status != "lost"}
    assert not kept & pool.submitted.keys(), "what has its result does not run again"
    rows.update(records.rows)
    asked.update(records.asked)
    if sweep.stopped is not None:
        errors = [result.error for _, result in records.rows.values() if result.status != "diverged"]
        assert max(Counter(errors).values()) >= MAX_SAME_ERRORS
        return True
    if not is_interrupted:
        assert not [ask for cell in sweep.current_plan().cells for ask in cell.to_run], "every wanted trial has ended"
    return not is_interrupted


def check_counts(plan: Plan, records: Records, pool: RandomPool, end: Snapshot) -> None:
    """A snapshot counts what was recorded, and what the pool runs."""
    assert end.ended == Counter(result.status for _, result in records.rows.values())
    assert {trial.trial_id for trial in end.running} == {
        trial_id for trial_id, attempt in pool.running.items() if attempt.is_running and trial_id not in records.rows
    }
    assert {trial.trial_id: trial.attempt for trial in end.running}.items() <= pool.submitted.items()
    waiting_again = {trial_id for trial_id in pool.submitted if trial_id not in {*records.rows, *pool.running}}
    assert end.retries.keys() == waiting_again
    for spec, result in records.rows.values():
        assert result.attempts == pool.submitted[spec.trial_id]
    wanted = sum(len(asked(plan, records, cell.spec(Point(1.0), 0))) for cell in plan.cells)
    assert end.num_done + end.num_failed + end.num_open == wanted


@pytest.mark.parametrize("grid", GRIDS, ids=["listed", "until_solved", "log_uniform"])
@examples(60)
@given(data=st.data())
def test_whatever_happens_every_wanted_trial_ends_once(grid: Grid, data: st.DataObject) -> None:
    clock = Clock()
    rows: dict[str, tuple[TrialSpec, TrialResult]] = {}
    asked: dict[str, tuple[Point, ...]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", clock)
        while not launch(data.draw, clock, grid, rows, asked):
            pass
