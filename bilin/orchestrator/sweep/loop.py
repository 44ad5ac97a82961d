"""The loop that runs a plan on a pool: submit trials, take events, record results, ask for more trials."""

from __future__ import annotations

import heapq
import os
import shlex
import socket
import time
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import replace
from functools import cached_property

from bilin.errors import plain
from bilin.failures import MAX_SAME_ERRORS, RULES, error_key, place_of
from bilin.folder import SweepFolder
from bilin.orchestrator.grid import LogUniform
from bilin.orchestrator.planning.cell import CellPlan
from bilin.orchestrator.planning.plan import Plan
from bilin.orchestrator.planning.search import Ask, Key
from bilin.orchestrator.sweep.queues import Queues, Trial
from bilin.orchestrator.sweep.recorder import Recorder
from bilin.orchestrator.sweep.snapshot import MAX_NOTES, NUM_LEADERS, Labels, Leader, Observer, RunningTrial, Snapshot
from bilin.record import RESULT_STATUSES, Progress, Status, TrialResult
from bilin.results import store_option
from bilin.rules import Outcome
from bilin.spec import trial_id
from bilin.workers.events import Cancelled, Event, Finished, Lost, Started
from bilin.workers.pool import Group, Pool

WAIT_S = 0.5
"""How long one turn of the loop waits for events."""

OBSERVE_S = 0.25
"""Seconds between snapshots; more if making one takes longer than `OBSERVE_SHARE` of this period."""

OBSERVE_SHARE = 0.05
"""Greatest share of the time that goes to snapshots."""


class Sweep:
    """Runs the missing trials of a plan.

    Attributes:
        stopped: Why the sweep stopped early, if it did.
    """

    def __init__(
        self,
        plan: Plan,
        recorder: Recorder,
        *observers: Observer,
        folder: SweepFolder | None = None,
        packs: bool = False,
    ) -> None:
        """Prepare to run a plan.

        Workers keep final weights in the folder, if there is one. With ``packs``, they train trials of one shape as
        one program.
        """
        self.stopped: str | None = None
        self._plan = plan
        self._recorder = recorder
        self._folder = folder
        self._observers = observers
        self._num_elsewhere = 0
        self._pool: Pool | None = None
        self._cells = {cell.wanted.cell_id: cell for cell in plan.cells}
        self._label_of: dict[str, str] = {}
        self._trials: dict[str, Trial] = {}
        self._running: dict[str, Trial] = {}
        self._queues = Queues(packs=packs)
        self._num_later = plan.num_later
        self._found = Counter(plan.statuses)
        self._ended: Counter[Status] = Counter()
        self._num_tests = 0
        self._num_steps = 0
        self._num_groups = 0
        self._num_unfinished = 0
        self._paused: set[str] = set()
        self._best: dict[str, Leader] = {}
        self._notes: list[str] = []
        self._last_lost: str | None = None
        self._errors = _Errors(plan.grid.name, store_option(folder.store) if folder else [])
        self._began_at, self._began = time.time(), time.monotonic()
        self._observe_at = 0.0
        for cell in plan.cells:
            self._enqueue(cell, cell.to_run)

    def run(self, pool: Pool, *, num_elsewhere: int = 0) -> None:
        """Run until nothing is left, or until the same error came too often (see `stopped`).

        Args:
            pool: Where to run. It must send its events to `take`.
            num_elsewhere: Trials to run in cells of the grid that the plan leaves out.
        """
        self._pool, self._num_elsewhere = pool, num_elsewhere
        self._recorder.keep_asked(self._plan.asked)
        try:
            while self._trials and self.stopped is None:
                self._recorder.check()
                self._submit(pool)
                self._observe()
                pool.wait(WAIT_S)
        except KeyboardInterrupt:
            self._observe(now=True)  # failures that have not been shown
            raise
        self._observe(now=True)

    def take(self, event: Event) -> None:
        """Take an event of a trial. The first result counts, even from a worker that was reported lost."""
        trial = self._trials.get(event.trial_id)
        if trial is None:
            return
        if isinstance(event, Finished):
            self._take_result(trial, event)
        elif event.trial_id not in self._running:
            return  # it waits to run again
        elif isinstance(event, Lost):
            if not self._retries(trial, event.status, event.reason, event.node):
                self._end(trial, _lost(trial, event))
        elif isinstance(event, Cancelled):  # but still in `_trials`, so it must run
            self._wait_again(trial, "cancelled")
        elif isinstance(event, Started):
            trial.started = event
        elif isinstance(event, Progress):
            self._num_steps += event.step - (trial.progress.step if trial.progress else event.began)
            trial.progress = event
        else:
            trial.checkpointed = event
        self._observe()

    def current_plan(self) -> Plan:
        """Return the plan, updated with the outcomes so far."""
        return replace(self._plan, cells=tuple(self._cells.values()), statuses=self._found)

    def snapshot(self) -> Snapshot:
        """Return what the sweep looks like now."""
        # a worker may train the trials of a group one after the other: those that it has not begun still wait
        running = [trial for trial in self._running.values() if trial.started or trial.group_size == 1]
        packs = {trial.group: trial.occupied.gpus for trial in running}
        elapsed_s = max(time.monotonic() - self._began, 1e-9)
        return Snapshot(
            sweep=self._plan.grid.name,
            at=time.time(),
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._began_at,
            is_part=not self._plan.grid.is_whole,
            num_elsewhere=self._num_elsewhere,
            num_cells=len(self._cells),
            num_wanted=self._plan.num_wanted,
            found=dict(self._found),
            ended=dict(self._ended),
            num_tests=self._num_tests,
            num_open=len(self._trials),
            num_unfinished=self._num_unfinished,
            num_later=self._num_later,
            may_end_early=self._plan.may_end_early and self._num_later > 0,
            trials_per_s=self._ended.total() / elapsed_s,
            steps_per_s=self._num_steps / elapsed_s,
            num_packs=len(packs),
            num_gpus=sum(packs.values()),
            running=tuple(map(self._running_trial, running)),
            retries={trial.trial_id: trial.reason for trial in self._queues.retrying() if trial.reason},
            leaders=tuple(heapq.nsmallest(NUM_LEADERS, self._best.values(), key=_rank)),
            notes=tuple(self._notes[-MAX_NOTES:]),
            num_notes=len(self._notes),
            stopped=self.stopped,
        )

    def _enqueue(self, cell: CellPlan, asks: Sequence[Ask], *, first: bool = False) -> None:
        """Queue trials of a cell; ``first`` before all others, so that few cells have checkpoints at a time."""
        cell_id, kind, occupied = cell.wanted.cell_id, cell.kind, cell.wanted.resources.occupied
        for ask in asks:
            trial = Trial(
                spec=cell.spec(*ask, folder=self._folder),
                trial_id=trial_id(cell_id, *ask.key),
                cell_id=cell_id,
                kind=kind,
                occupied=occupied,
            )
            self._trials[trial.trial_id] = trial
            self._queues.add(trial, first=first)

    def _submit(self, pool: Pool) -> None:
        for group, avoid in self._queues.groups(pool):
            self._num_groups += 1
            for trial in group:
                self._running[trial.trial_id] = trial
                trial.begin(self._num_groups, len(group))
            pool.submit(Group(tuple(trial.spec for trial in group), avoid))

    def _take_result(self, trial: Trial, event: Finished) -> None:
        result = event.result
        if event.is_late:
            if result.status in RULES and RULES[result.status].attempts > 1:
                return  # a failure of a class that runs again: the next attempt is queued or running
            if trial.trial_id in self._running and self._pool:
                self._pool.cancel(trial.trial_id)
        elif event.node and self._retries(trial, result.status, result.error or "", event.node):
            return
        self._end(trial, result)

    def _retries(self, trial: Trial, status: Status, reason: str, node: str | None) -> bool:
        """Queue a trial to run again, if the rule of its status allows it; return whether it does."""
        rule = RULES.get(status)
        if rule is None or trial.attempts >= rule.attempts:
            return False
        if rule.elsewhere and node:
            trial.avoid |= {node}
        what = {"lost": "worker lost", "hardware": "hardware failed"}.get(status, status)
        line = f"{what} (attempt {trial.attempts} of {rule.attempts}), runs again: {_short(reason)}"
        if status != "lost" or reason != self._last_lost:  # one note for all trials of a worker
            others = " and others of its worker" if trial.group_size > 1 and status == "lost" else ""
            self._notes.append(f"{trial.trial_id}{others}: {line}")
        self._last_lost = reason if status == "lost" else None
        self._wait_again(trial, line)
        return True

    def _wait_again(self, trial: Trial, reason: str) -> None:
        del self._running[trial.trial_id]
        trial.reason = reason
        self._queues.add(trial, first=True)

    def _end(self, trial: Trial, result: TrialResult) -> None:
        if trial.attempts != result.attempts:  # only the sweep knows how many times it started the trial
            result = replace(result, attempts=trial.attempts)
        # a worker does not know how a rung decides
        if result.stop_reason == "rung" and self._cells[trial.cell_id].wanted.pruner.asynchronous:
            result = replace(result, stop_reason="asynchronous_rung")
        del self._trials[trial.trial_id]
        if not self._running.pop(trial.trial_id, None):  # a late result arrived while the trial waited to run again
            self._queues.remove(trial)
        cell, key = self._cells[trial.cell_id], (trial.spec.point, trial.spec.seed)
        keeps_row = result.status not in RESULT_STATUSES and self._has_result(trial)
        if not keeps_row:
            self._recorder.put(trial.spec, result)
        self._num_unfinished += keeps_row
        self._ended[result.status] += 1
        if result.status == "pruned":
            self._paused.add(trial.trial_id)
        self._num_tests += result.is_test
        if not result.is_test:
            self._num_steps += max(0, result.steps - (trial.progress.step if trial.progress else 0))
        if result.status == "done" and not result.is_test:
            self._compare(trial, result)
        self._queues.learn(trial, result)
        is_unchanged = key in cell.known and (keeps_row or result.is_test)
        self._advance(cell, key, cell.known[key] if is_unchanged else Outcome.of(*key, result, result.rungs))
        if result.note:
            self._notes.append(f"{trial.trial_id}: {_short(result.note)}")
        self._notes += self._errors.note(result, keeps_row=keeps_row)
        self.stopped = self._errors.add(result) or self.stopped

    def _compare(self, trial: Trial, result: TrialResult) -> None:
        """Make a trial the leader of its cell if it is better than the best so far."""
        leader = Leader(
            trial_id=trial.trial_id,
            label=self._label(trial.cell_id),
            lr=trial.spec.lr,
            searched=dict(trial.spec.point.searched),
            seed=trial.spec.seed,
            steps=result.steps,
            solved=result.solved,
            validation_accuracy=result.validation_accuracy,
        )
        self._best[trial.cell_id] = min(leader, self._best.get(trial.cell_id, leader), key=_rank)

    def _has_result(self, trial: Trial) -> bool:
        """Return whether a result is stored that a failure must not replace."""
        row = self._plan.stored.get(trial.trial_id)
        return bool(trial.spec.test_only) or (row is not None and row.status in RESULT_STATUSES - {"pruned"})

    def _advance(self, before: CellPlan, key: Key, outcome: Outcome) -> None:
        """Queue what a cell needs after one of its trials ended; copy what other sweeps have of it."""
        cell, cell_id = before.advance(key, outcome), before.wanted.cell_id
        for ask in cell.asks[len(before.asks) :]:
            if not self._copy(cell, ask):
                cell = cell.advance(ask.key, None)
        new = cell.asks[len(before.asks) :]
        self._cells[cell_id] = cell
        self._num_later += cell.num_later - before.num_later
        if new and isinstance(cell.wanted.learning_rate, LogUniform):
            self._recorder.keep_asked({cell_id: cell.points})
        if new or before.lacking_lengths or cell.wanted.rungs:
            due = [ask for ask in cell.to_run if trial_id(cell_id, *ask.key) not in self._trials]
            resumed = {ask for ask in due if trial_id(cell_id, *ask.key) in self._paused}
            self._recount(cell, due, new, resumed)
            self._enqueue(cell, due, first=bool(resumed))
        if cell.num_to_run:
            return
        asked_ids = {trial_id(cell_id, *ask.key) for ask in cell.asks}
        if cell.wanted.rungs and asked_ids.isdisjoint(self._trials):  # one that was overtaken may still run
            self._recorder.drop_checkpoints(asked_ids)
        if self._folder:
            self._folder.drop_weights(asked_ids - cell.weights_kept - self._trials.keys())

    def _recount(self, cell: CellPlan, due: Sequence[Ask], new: Sequence[Ask], resumed: Set[Ask]) -> None:
        """Count trials that run again no longer as found or as pruned, and new ones with a result as found."""
        if resumed:
            self._ended["pruned"] -= len(resumed)
        self._paused.difference_update(trial_id(cell.wanted.cell_id, *ask.key) for ask in resumed)
        self._found.subtract(cell.statuses(set(due).difference(new, resumed)))
        self._found.update(cell.statuses(set(new).difference(due)))

    def _copy(self, cell: CellPlan, ask: Ask) -> bool:
        """Copy the result of a trial that another sweep has; return False if it has gone."""
        trial = cell.stored.get(ask.key)
        if trial is None or trial.found_in is None or (ask.key in cell.lacking_lengths and not trial.has_weights):
            return True
        return self._recorder.take_over(trial.found_in, trial.trial_id)

    def _running_trial(self, trial: Trial) -> RunningTrial:
        started, progress, checkpointed = trial.started, trial.progress, trial.checkpointed
        return RunningTrial(
            trial_id=trial.trial_id,
            cell_id=trial.cell_id,
            label=self._label(trial.cell_id),
            lr=trial.spec.lr,
            searched=dict(trial.spec.point.searched),
            seed=trial.spec.seed,
            attempt=trial.attempts,
            since=trial.since,
            max_steps=trial.spec.cell.train.steps,
            worker=started.worker if started else None,
            host=started.host if started else None,
            pid=started.pid if started else None,
            step=progress.step if progress else 0,
            loss=progress.loss if progress else None,
            accuracy=progress.accuracy if progress else None,
            checkpoint_step=checkpointed.step if checkpointed else None,
        )

    def _observe(self, *, now: bool = False) -> None:
        began = time.monotonic()
        if (now or began >= self._observe_at) and self._observers:
            snapshot = self.snapshot()
            for observer in self._observers:
                observer(snapshot)
            ended = time.monotonic()
            self._observe_at = ended + max(OBSERVE_S, (ended - began) / OBSERVE_SHARE)

    @cached_property
    def _labels(self) -> Labels:
        return Labels(cell.wanted.cell for cell in self._cells.values())

    def _label(self, cell_id: str) -> str:
        if cell_id not in self._label_of:
            self._label_of[cell_id] = self._labels.label(self._cells[cell_id].wanted.cell)
        return self._label_of[cell_id]


class _Errors:
    """The errors of failed trials: each is shown once, and stops the sweep if it comes too often in a row."""

    def __init__(self, sweep: str, store: Sequence[str]) -> None:
        """Prepare to take errors of a sweep; ``store`` is what a command needs to use its store."""
        self._sweep, self._store = sweep, store
        self._shown: set[str] = set()
        self._num_in_row = 0
        self._last: str | None = None

    def add(self, result: TrialResult) -> str | None:
        """Take a trial that ended; return why the sweep must stop, if it must."""
        error = None if result.status in RESULT_STATUSES else error_key(result)
        self._num_in_row = self._num_in_row + 1 if error == self._last else 1
        self._last = error
        if error is None or self._num_in_row < MAX_SAME_ERRORS:
            return None
        return f"the same error in {self._num_in_row} trials in a row: {result.error}"

    def note(self, result: TrialResult, *, keeps_row: bool) -> list[str]:
        """Return what to show of a trial that ended: an error that has not been shown, and where the rest is."""
        if result.status in RESULT_STATUSES or error_key(result) in self._shown:
            return []
        self._shown.add(error_key(result))
        lines = [f"{result.trial_id}: {result.status}: {_short(result.error or '')}"]
        if place := place_of(result.traceback):
            lines.append(f"  at {place}")
        if keeps_row:
            lines.append("  the stored result is kept; the next launch runs the trial again")
        more = (
            ["logs", self._sweep, result.trial_id] if keeps_row else ["show", result.trial_id, "--sweep", self._sweep]
        )
        return ["\n".join([*lines, f"  more: {shlex.join(['bilin', 'sweep', *more, *self._store])}"])]


def _lost(trial: Trial, event: Lost) -> TrialResult:
    now = time.time()
    times = "" if trial.attempts == 1 else f" in each of {trial.attempts} attempts"
    return TrialResult(
        trial_id=trial.trial_id,
        status=event.status,
        error=f"its worker died{times}: {_short(event.reason)}",
        traceback=plain(event.reason),
        started_at=now,
        finished_at=now,
    )


def _rank(trial: Leader) -> tuple[float, float, int, str]:
    return (-trial.solved, -(trial.validation_accuracy or 0.0), trial.steps, trial.trial_id)


def _short(reason: str) -> str:
    return " ".join(plain(reason).split())[:200]
