"""The loop that runs a plan on a pool: submit, take what came back, record it, ask for more."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, defaultdict, deque

from bilin.failures import MAX_SAME_ERRORS, RULES
from bilin.orchestrator.planning.plan import CellPlan
from bilin.orchestrator.running.progress import Observer, Running, SweepState
from bilin.orchestrator.running.recorder import Recorder
from bilin.record import RESULT_STATUSES, Progress, Status, TrialResult
from bilin.rules import Outcome
from bilin.spec import Resources, TrialSpec
from bilin.workers.events import Cancelled, Event, Finished, Lost, Started
from bilin.workers.pool import Group, Pool

WAIT_S = 0.5

_Place = tuple[Resources, frozenset[str]]
"""What a queue's trials ask for: what they occupy, and nodes to avoid."""


class Sweep:
    """Runs the missing trials of the plan of a state."""

    def __init__(self, state: SweepState, recorder: Recorder, observer: Observer) -> None:
        self.state = state
        self.stopped: str | None = None
        self._pool: Pool | None = None
        self._recorder = recorder
        self._observer = observer
        self._queues: dict[_Place, deque[TrialSpec]] = defaultdict(deque)
        self._cells: dict[str, CellPlan] = {}  # of the trials that have not ended
        self._specs: dict[str, TrialSpec] = {}
        self._attempts: Counter[str] = Counter()
        self._avoid: dict[str, frozenset[str]] = {}  # nodes whose hardware failed, by the trial that ran there
        self._same_errors = 0
        self._last_error: str | None = None

    def run(self, pool: Pool) -> None:
        """Run until nothing is left, or until the same error came too often (then `stopped` says so).

        Args:
            pool: Where to run; it was made with `take` as its emit.
        """
        self._pool = pool
        for cell in self.state.plan.cells:
            self._enqueue(cell, cell.missing)
        while self.state.num_left and self.stopped is None:
            self._recorder.check()
            self._submit(pool)
            self._observer(self.state)
            pool.wait(WAIT_S)
        self._observer(self.state)

    def take(self, event: Event) -> None:
        """Take what happened to a trial: its first result counts, also from a worker that was taken for lost."""
        if event.trial_id in self._specs:
            spec = self._specs[event.trial_id]
            if isinstance(event, Finished):
                result = event.result
                if event.node is None or not self._runs_again(spec, result.status, result.error or "", event.node):
                    if self._attempts[spec.trial_id] > 1 and spec.trial_id in self.state.running and self._pool:
                        self._pool.cancel(spec.trial_id)  # the result may be that of an attempt that was taken for lost
                    self._finish(spec, result)
            elif isinstance(event, Lost):
                if not self._runs_again(spec, event.status, event.reason, event.node):
                    self._finish(spec, _died(spec, event, self._attempts[spec.trial_id]))
            elif isinstance(event, Cancelled):
                self._wait_again(spec, "cancelled")
        running = self.state.running.get(event.trial_id)
        if running and isinstance(event, Started):
            running.started = event
        elif running and isinstance(event, Progress):
            running.progress = event
        if isinstance(event, Started | Progress):
            self._observer(self.state)

    def _enqueue(self, cell: CellPlan, trials: list[tuple[float, int]]) -> None:
        specs = [cell.spec(lr, seed) for lr, seed in trials]
        self._cells.update((spec.trial_id, cell) for spec in specs)
        self._specs.update((spec.trial_id, spec) for spec in specs)
        self._queues[_place(cell.wanted.resources)].extend(specs)

    def _submit(self, pool: Pool) -> None:
        for (_, avoid), queue in sorted(self._queues.items(), key=lambda item: not item[0][1]):
            while queue and pool.accepts(queue[0].resources, avoid):
                spec = queue.popleft()
                if self._has_ended(spec):  # while it waited to run again: see `_take`
                    continue
                self._attempts[spec.trial_id] += 1
                self.state.running[spec.trial_id] = Running(spec, self._attempts[spec.trial_id])
                self.state.again.pop(spec.trial_id, None)
                pool.submit(Group((spec,), avoid))

    def _has_ended(self, spec: TrialSpec) -> bool:
        return spec.trial_id not in self._cells

    def _runs_again(self, spec: TrialSpec, status: Status, reason: str, node: str | None) -> bool:
        """Whether the rule of what became of it has a trial run again; then it waits to."""
        trial_id, rule = spec.trial_id, RULES.get(status)
        attempt = self._attempts[trial_id]
        if rule is None or attempt >= rule.attempts:
            return False
        if rule.elsewhere and node:
            self._avoid[trial_id] = self._avoid.get(trial_id, frozenset()) | {node}
        what = {"lost": "worker lost", "hardware": "hardware failed"}.get(status, status)
        said = f"{what} (attempt {attempt} of {rule.attempts}), runs again: {_short(reason)}"
        self.state.notes.append(f"{trial_id}: {said}")
        self._wait_again(spec, said)
        return True

    def _wait_again(self, spec: TrialSpec, why: str) -> None:
        trial_id = spec.trial_id
        self.state.again[trial_id] = why
        self.state.running.pop(trial_id, None)
        self._queues[_place(spec.resources, self._avoid.get(trial_id, frozenset()))].appendleft(spec)

    def _finish(self, spec: TrialSpec, result: TrialResult) -> None:
        trial_id = spec.trial_id
        result = dataclasses.replace(result, attempts=self._attempts.pop(trial_id))
        self._avoid.pop(trial_id, None)
        self._recorder.put(spec, result)
        self.state.running.pop(trial_id, None)
        self.state.again.pop(trial_id, None)
        self.state.add(spec, result)
        del self._specs[trial_id]
        cell = self._cells.pop(trial_id)
        cell.known[spec.lr, spec.seed] = Outcome.of(spec.lr, spec.seed, result)
        cell.missing.remove((spec.lr, spec.seed))
        if not cell.missing:  # the round is complete: a search may ask for the next
            added, found = cell.advance()
            self.state.plan.statuses.update(found)
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


def _place(resources: Resources, avoid: frozenset[str] = frozenset()) -> _Place:
    return resources.occupied, avoid


def _died(spec: TrialSpec, event: Lost, attempts: int) -> TrialResult:
    now = time.time()
    times = "" if attempts == 1 else f" in each of {attempts} attempts"
    return TrialResult(
        trial_id=spec.trial_id,
        status=event.status,
        error=f"its worker died{times}: {_short(event.reason)}",
        traceback=event.reason,
        started_at=now,
        finished_at=now,
    )


def _short(reason: str) -> str:
    return " ".join(reason.split())[:200]


def _signature(result: TrialResult) -> str:
    """What makes two errors the same: where they were raised, or their text where that is not known."""
    places = [line for line in (result.traceback or "").splitlines() if line.lstrip().startswith("File ")]
    kind = (result.error or "").partition(":")[0]
    return f"{kind} at {places[-1].strip()}" if places else (result.error or result.status)
