"""The loop that runs a plan on a pool: submit, take what came back, record it, ask for more."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, defaultdict, deque

from bilin.orchestrator.plan import CellPlan
from bilin.orchestrator.progress import Observer, Running, SweepState
from bilin.orchestrator.recorder import Recorder
from bilin.record import RESULT_STATUSES, TrialResult
from bilin.rules import Outcome
from bilin.spec import TrialSpec
from bilin.workers.pool import Group, Lost, Pool, Returned

MAX_ATTEMPTS = 3
"""How often a trial is started before it counts as lost."""

MAX_SAME_ERRORS = 10
"""Failures with the same error, none done between, after which a sweep stops: it is the code, not the cell."""

WAIT_S = 0.5


class Sweep:
    """Runs the missing trials of the plan of a state."""

    def __init__(self, state: SweepState, pool: Pool, recorder: Recorder, observer: Observer) -> None:
        self.state = state
        self.stopped: str | None = None
        self._pool = pool
        self._recorder = recorder
        self._observer = observer
        self._queues: dict[tuple[float, float], deque[TrialSpec]] = defaultdict(deque)
        self._cells: dict[str, CellPlan] = {}  # of the trials that have not ended
        self._attempts: Counter[str] = Counter()
        self._same_errors = 0
        self._last_error: str | None = None

    def run(self) -> None:
        """Run until nothing is left, or until the same error came too often (then `stopped` says so)."""
        for cell in self.state.plan.cells:
            self._enqueue(cell, cell.missing)
        while self.state.num_left and self.stopped is None:
            self._recorder.check()
            self._submit()
            self._observer(self.state)
            for event in self._pool.wait(WAIT_S):
                if isinstance(event, Lost):
                    self._take_lost(event)
                else:
                    self._take(event)
        self._observer(self.state)

    def _enqueue(self, cell: CellPlan, trials: list[tuple[float, int]]) -> None:
        size = (cell.wanted.resources.cpus, cell.wanted.resources.gpus)
        specs = [cell.spec(lr, seed) for lr, seed in trials]
        self._cells.update((spec.trial_id, cell) for spec in specs)
        self._queues[size].extend(specs)

    def _submit(self) -> None:
        for queue in self._queues.values():
            while queue and self._pool.accepts(queue[0].resources):
                spec = queue.popleft()
                if self._has_ended(spec):  # while it waited to run again: see `_take`
                    continue
                self._attempts[spec.trial_id] += 1
                self.state.running[spec.trial_id] = Running(spec, self._attempts[spec.trial_id])
                self.state.again.pop(spec.trial_id, None)
                self._pool.submit(Group((spec,)))

    def _take(self, event: Returned) -> None:
        """Record what came back: the first result of a trial, also from a worker that was taken for lost."""
        for spec, result in zip(event.group.trials, event.results, strict=True):
            if not self._has_ended(spec):
                self._finish(spec, result)

    def _has_ended(self, spec: TrialSpec) -> bool:
        return spec.trial_id not in self._cells

    def _take_lost(self, event: Lost) -> None:
        for spec in event.group.trials:
            if self._has_ended(spec):
                continue
            attempt = self._attempts[spec.trial_id]
            if attempt < MAX_ATTEMPTS:
                said = f"worker lost (attempt {attempt} of {MAX_ATTEMPTS}), runs again: {_short(event.reason)}"
                self.state.notes.append(f"{spec.trial_id}: {said}")
                self.state.again[spec.trial_id] = said
                self._requeue(spec)
            else:
                self._finish(spec, _lost(spec, event.reason))

    def _requeue(self, spec: TrialSpec) -> None:
        self.state.running.pop(spec.trial_id, None)
        self._queues[spec.resources.cpus, spec.resources.gpus].appendleft(spec)

    def _finish(self, spec: TrialSpec, result: TrialResult) -> None:
        trial_id = spec.trial_id
        result = dataclasses.replace(result, attempts=self._attempts.pop(trial_id))
        self._recorder.put(spec, result)
        self.state.running.pop(trial_id, None)
        self.state.again.pop(trial_id, None)
        self.state.add(spec, result)
        cell = self._cells.pop(trial_id)
        cell.known[spec.lr, spec.seed] = outcome_of(spec, result)
        cell.missing.remove((spec.lr, spec.seed))
        if not cell.missing:  # the round is complete: a search may ask for the next
            added = cell.advance()
            self._enqueue(cell, added)
            self.state.num_left += len(added)
        self._count_error(result)

    def _count_error(self, result: TrialResult) -> None:
        if result.status in RESULT_STATUSES:
            self._same_errors = 0
            return
        error = _signature(result)
        self._same_errors = self._same_errors + 1 if error == self._last_error else 1
        self._last_error = error
        if self._same_errors >= MAX_SAME_ERRORS:
            self.stopped = f"the same error in {self._same_errors} trials, with none done between: {result.error}"


def outcome_of(spec: TrialSpec, result: TrialResult) -> Outcome:
    """What the choice of a learning rate may know of a trial that has just ended."""
    return Outcome(
        lr=spec.lr,
        seed=spec.seed,
        is_done=result.status == "done",
        solved=result.solved,
        validation_accuracy=result.validation_accuracy,
        training_loss=result.training_loss,
    )


def _lost(spec: TrialSpec, reason: str) -> TrialResult:
    now = time.time()
    error = f"its worker died in each of {MAX_ATTEMPTS} attempts: {_short(reason)}"
    return TrialResult(
        trial_id=spec.trial_id, status="lost", error=error, traceback=reason, started_at=now, finished_at=now
    )


def _short(reason: str) -> str:
    return " ".join(reason.split())[:200]


def _signature(result: TrialResult) -> str:
    """What makes two errors the same: where they were raised, or their text where that is not known."""
    places = [line for line in (result.traceback or "").splitlines() if line.lstrip().startswith("File ")]
    kind = (result.error or "").partition(":")[0]
    return f"{kind} at {places[-1].strip()}" if places else (result.error or result.status)
