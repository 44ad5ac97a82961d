"""A sweep in another process, seen from the store: from any terminal, on any machine that sees the store.

Slurm is asked too about one that it has, where it can be: before the first process of a job, and between two jobs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bilin.folder import SweepFolder
from bilin.machine.slurm import JobStatus
from bilin.orchestrator.clusters.slurm.job import Job, active_job, job_status
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.monitor.inspect import SweepStatus, status
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.orchestrator.running.activity import Activity, read_activity
from bilin.orchestrator.running.progress import Running, SweepState
from bilin.record import RESULT_STATUSES, Progress, Status, TrialResult
from bilin.results import DEFAULT_STORE, LAPSE_S, Holder, StoredTrial, existing_sweep, holder, stored, sweep_directory

LOOK_S = 1.0
"""How often a sweep is looked at; its process says anew every two seconds what runs."""

READ_S = 5.0
"""How often its results are read, at most."""

ASK_S = 5.0
"""How often Slurm is asked about a job, at most."""

INTERRUPTED = 3
"""The exit code of a launch that ended before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A sweep that Slurm has, and that no process runs yet, or yet again.

    Attributes:
        status: What Slurm last said of its job.
    """

    job: Job
    status: JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a sweep stands that nothing runs.

    Attributes:
        status: How it stands.
        ran: Whether it was seen to run.
        exit_code: That of its launch: 0 every wanted trial has a result, 1 some ended without, 3 some are to run.
    """

    status: SweepStatus
    ran: bool
    exit_code: int


def watch(sweep: str, *, store: Path | str = DEFAULT_STORE) -> Iterator[SweepState | Queued | Ended | None]:
    """Look at a sweep until nothing runs it, and no job of it waits.

    Args:
        sweep: Its name.
        store: Directory of the store.

    Yields:
        How it stands, every `LOOK_S`, or how its job does; None where something has begun to run it and has not said
        more; last of all how it ended.

    Raises:
        StoreError: There is no such sweep, or it cannot be read.
    """
    directory = existing_sweep(store, sweep)
    pulse, queue, mirror = _Pulse(store, sweep), _Queue(directory), _Mirror(store, sweep)
    ran = False
    while True:
        if running := pulse.holder():
            ran = True
            queue.forget()
            yield mirror.state(running)
        elif queued := queue.job():
            yield queued
        else:
            break
        time.sleep(LOOK_S)
    ended = status(sweep, store=store)
    yield Ended(status=ended, ran=ran, exit_code=_exit_code(ended.plan, mirror.not_asked_for))


def _exit_code(plan: Plan, not_asked_for: int) -> int:
    if plan.num_missing > not_asked_for:
        return INTERRUPTED
    return 1 if plan.num_failed else 0


class _Pulse:
    """Whether something runs a sweep: for a process elsewhere, whether its lease is renewed while we look."""

    def __init__(self, store: Path | str, sweep: str) -> None:
        self._store = store
        self._sweep = sweep
        self._heard: tuple[float, Holder] | None = None

    def holder(self) -> Holder | None:
        """What runs it; None where nothing does, or nothing has been heard of it for as long as a lease lasts."""
        found = holder(self._store, self._sweep)
        if found is None or not found.silent_s:
            return found
        if self._heard is None or self._heard[1].renewals != found.renewals:
            self._heard = (time.monotonic(), found)
        return found if time.monotonic() - self._heard[0] < LAPSE_S else None


class _Queue:
    """What Slurm says of the job of a sweep; asked now and then."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._queued: Queued | None = None
        self._asked_at = -ASK_S

    def job(self) -> Queued | None:
        """The job that waits or runs; None where there is none, or Slurm has not been heard of."""
        if time.monotonic() - self._asked_at >= ASK_S:
            self._asked_at = time.monotonic()
            self._ask()
        return self._queued

    def forget(self) -> None:
        """Ask anew when it is wanted next: something runs the sweep."""
        self._queued, self._asked_at = None, -ASK_S

    def _ask(self) -> None:
        if found := active_job(SweepFolder(self._directory)):
            self._queued = Queued(job=found[0], status=found[1])
        elif self._queued and job_status(self._queued.job):  # else it does not answer now, and the job goes on waiting
            self._queued = None


class _Mirror:
    """The state of a sweep in another process, put together from its files."""

    def __init__(self, store: Path | str, sweep: str) -> None:
        self.not_asked_for = 0
        self._store = store
        self._sweep = sweep
        self._launched_at = 0.0
        self._grid: Grid | None = None
        self._trials: Mapping[str, StoredTrial] = {}
        self._made: Plan | None = None
        self._read_at = -READ_S
        self._notes: list[str] = []
        self._again: Mapping[str, str] = {}

    def state(self, running: Holder) -> SweepState | None:
        """How it stands; None where it has not said yet what it runs."""
        activity = read_activity(sweep_directory(self._store, self._sweep))
        if activity is None or activity.pid != running.pid:
            return None
        plan = self._plan(activity)
        if activity.narrowed:
            self.not_asked_for = plan.num_missing - activity.num_left
        state = _counted(plan, activity)
        self._note(activity)
        state.notes = self._notes
        cells = {cell.wanted.cell_id: cell for cell in plan.cells}
        for trial in activity.running:
            if cell := cells.get(trial.cell_id):
                spec = cell.spec(trial.lr, trial.seed)
                progress = Progress(
                    trial_id=trial.trial_id,
                    step=trial.step,
                    max_steps=trial.max_steps,
                    loss=trial.loss,
                    accuracy=trial.accuracy,
                )
                state.running[trial.trial_id] = Running(spec, trial.attempt, progress=progress, since=trial.since)
        for each in self._trials.values():
            if cell := cells.get(each.cell_id):
                state.rank(cell.spec(each.lr, each.seed), _result(each))
        return state

    def _plan(self, activity: Activity) -> Plan:
        """What is wanted against what is stored; read anew now and then."""
        if self._grid is None or activity.started_at != self._launched_at:
            self._launched_at = activity.started_at
            self._grid, self._made = status(self._sweep, store=self._store).plan.grid, None
        if self._made is None or time.monotonic() - self._read_at > READ_S:
            self._trials = stored(self._store, self._sweep)
            self._made = make_plan(self._grid, self._trials)
            self._read_at = time.monotonic()
        return self._made

    def _note(self, activity: Activity) -> None:
        self._notes += [f"{trial}: {why}" for trial, why in activity.again.items() if self._again.get(trial) != why]
        self._again = activity.again


def _counted(plan: Plan, activity: Activity) -> SweepState:
    """The state of a sweep as far as its counts go; the plan in it is as when the launch began."""
    failed = plan.num_failed - sum(count for name, count in activity.ended.items() if name not in RESULT_STATUSES)
    statuses: Counter[Status] = Counter({"done": activity.num_found, "failed": max(failed, 0)})
    state = SweepState(replace(plan, statuses=statuses))
    state.statuses.update(activity.ended)
    state.num_left = activity.num_left
    state.started_at = time.monotonic() - state.num_ended / max(activity.trials_per_s, 1e-9)
    return state


def _result(trial: StoredTrial) -> TrialResult:
    return TrialResult(
        trial_id=trial.trial_id,
        status=trial.status,
        solved=trial.solved,
        steps=trial.steps,
        validation_accuracy=trial.validation_accuracy,
    )
