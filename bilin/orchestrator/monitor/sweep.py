"""The state of a sweep: once, or again and again until it ends.

It comes from the store, so any machine that sees the store can tell it. Slurm is asked, if possible, about the job of
a sweep, which may wait before its first process and between two jobs.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bilin.errors import GridError, InputError, StoreError
from bilin.folder import SweepFolder
from bilin.machine.slurm import JobStatus
from bilin.orchestrator.clusters.slurm.job import Job, active_job, job_status, recorded_job
from bilin.orchestrator.grid import restore_grid
from bilin.orchestrator.planning.asked import read_asked
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.orchestrator.planning.state import SweepState
from bilin.orchestrator.sweep.snapshot import Snapshot, read_snapshot
from bilin.record import Status
from bilin.results import (
    DEFAULT_STORE,
    LAPSE_S,
    Holder,
    StoredTrial,
    existing_sweep,
    holder,
    stored,
    stored_grid,
    sweep_names,
)

LOOK_S = 1.0
"""How often a sweep is looked at; its process writes a snapshot every two seconds."""

ASK_S = 5.0
"""How often Slurm is asked about a job, at most."""


class NotInstalledError(StoreError):
    """The grid of a sweep needs packages that are not installed.

    Attributes:
        packages: Their names and versions.
    """

    def __init__(self, message: str, packages: Sequence[str]) -> None:
        super().__init__(message)
        self.packages = packages


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """The state of a sweep, compared with the grid of its last launch.

    Attributes:
        plan: The grid of the last launch, compared with what is stored.
        rows: All rows of the sweep by status, including those that the grid no longer asks for.
        holder: The process that runs it; None if none does, or if that cannot be seen from here.
        snapshot: The latest snapshot of that process; None if there is none, or it has not written one yet.
        job: The Slurm job that was submitted last.
        job_status: What Slurm says of that job; None if it cannot be asked.
    """

    sweep: str
    folder: SweepFolder
    plan: Plan
    rows: Mapping[Status, int]
    holder: Holder | None
    snapshot: Snapshot | None
    job: Job | None
    job_status: JobStatus | None

    @property
    def is_queued(self) -> bool:
        """Whether Slurm has a job for this sweep alone, waiting or running."""
        return self.job is not None and self.job.alone and self.job_status is not None and not self.job_status.is_over

    @property
    def state(self) -> SweepState:
        """The state of the sweep."""
        return SweepState.of(
            num_to_run=self.plan.num_to_run - self.plan.num_lost,
            num_failed=self.plan.num_failed + self.plan.num_lost,
            is_queued=self.is_queued,
            is_running=self.holder is not None,
            is_silent=self.holder is not None and self.holder.silent_s >= 2 * LAPSE_S,
        )


def status(sweep: str, *, store: Path | str = DEFAULT_STORE) -> SweepStatus:
    """Return the state of a sweep, compared with the grid of its last launch.

    Raises:
        StoreError: There is no such sweep, or it cannot be read.
    """
    folder = existing_sweep(store, sweep)
    text, trials = stored_grid(store, sweep), stored(store, sweep)
    if text is None:
        raise StoreError(f"sweep {sweep!r} has no grid that can be read: launch it again, which stores one")
    try:
        grid = replace(restore_grid(text), name=sweep)  # a rename may have been interrupted
    except GridError as error:
        found = f"{folder.grid} cannot be read here"
        if packages := _not_installed(trials.values()):
            message = f"{found}: install {' and '.join(packages)}, which ran its trials ({error})"
            raise NotInstalledError(message, packages) from error
        raise StoreError(f"{found}: install what it names, or launch the sweep again ({error})") from error
    job = recorded_job(folder)
    running = holder(store, sweep)
    existing_sweep(store, sweep)  # it may have been renamed while it was read
    return SweepStatus(
        sweep=sweep,
        folder=folder,
        plan=make_plan(grid, trials, asked=read_asked(folder)),
        rows=Counter(trial.status for trial in trials.values()),
        holder=running,
        snapshot=read_snapshot(folder) if running else None,
        job=job,
        job_status=job_status(job) if job else None,
    )


def _not_installed(trials: Iterable[StoredTrial]) -> list[str]:
    """Return the packages, with their versions, that ran trials and are not installed in any version."""
    packages = {package for trial in trials for package in (trial.origin.task_package, trial.origin.tier_package)}
    installed = {distribution.name for distribution in importlib.metadata.distributions()}
    return sorted(package for package in packages if package and package.split()[0] not in installed)


def statuses(*, store: Path | str = DEFAULT_STORE) -> dict[str, SweepStatus | InputError]:
    """Return the state of each sweep of a store; for one that cannot be read, the error."""
    found: dict[str, SweepStatus | InputError] = {}
    while found.keys() != {*(names := sweep_names(store))}:  # once, or again if a sweep was renamed meanwhile
        found = {name: found[name] for name in names if name in found}
        for name in names:
            if name not in found:
                found[name] = _status_or_error(name, store)
    return dict(sorted(found.items()))


def _status_or_error(sweep: str, store: Path | str) -> SweepStatus | InputError:
    try:
        return status(sweep, store=store)
    except InputError as error:
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A sweep that has a Slurm job, and that no process runs at the moment; ``status`` is what Slurm said last."""

    job: Job
    status: JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The state of a sweep that no process is running.

    Attributes:
        ran: Whether it was seen to run.
        exit_code: That of its launch: 0 every trial asked for has a result, 1 some ended without, 3 some are to run.
    """

    status: SweepStatus
    ran: bool
    exit_code: int


def watch(sweep: str, *, store: Path | str = DEFAULT_STORE) -> Iterator[Snapshot | Queued | Ended | None]:
    """Follow a sweep until no process is running it, and no job of it waits.

    Yields:
        Once a second, its latest snapshot or the state of its job; None if a process has begun to run it and has not
        written a snapshot yet; at the end, how it ended.

    Raises:
        StoreError: There is no such sweep, or it cannot be read.
    """
    folder = existing_sweep(store, sweep)
    pulse, queue = _Pulse(store, sweep), _Queue(folder)
    ran, num_elsewhere = False, 0
    while True:
        if running := pulse.holder():
            ran = True
            queue.forget()
            snapshot = read_snapshot(folder)
            is_current = snapshot is not None and snapshot.pid == running.pid
            if snapshot and is_current:
                num_elsewhere = snapshot.num_elsewhere
            yield snapshot if is_current else None
        elif queued := queue.job():
            yield queued
        else:
            break
        time.sleep(LOOK_S)
    ended = status(sweep, store=store)
    plan = ended.plan
    num_left = max(0, plan.num_to_run - plan.num_lost - num_elsewhere)  # of the cells that its launch ran
    launched = SweepState.of(num_to_run=num_left, num_failed=plan.num_failed + plan.num_lost)
    yield Ended(status=ended, ran=ran, exit_code=launched.exit_code)


class _Pulse:
    """Which process runs a sweep. One on another machine counts while it renews its lease."""

    def __init__(self, store: Path | str, sweep: str) -> None:
        self._store = store
        self._sweep = sweep
        self._heard: tuple[float, Holder] | None = None

    def holder(self) -> Holder | None:
        """Return the process; None if there is none, or if its lease has lapsed."""
        found = holder(self._store, self._sweep)
        if found is None or not found.silent_s:
            return found
        if self._heard is None or self._heard[1].renewals != found.renewals:
            self._heard = (time.monotonic(), found)
        return found if time.monotonic() - self._heard[0] < LAPSE_S else None


class _Queue:
    """What Slurm says of the job of a sweep; it is asked every `ASK_S`."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._queued: Queued | None = None
        self._asked_at = -ASK_S

    def job(self) -> Queued | None:
        """Return the job that waits or runs; None if there is none, or Slurm has never answered."""
        if time.monotonic() - self._asked_at >= ASK_S:
            self._asked_at = time.monotonic()
            if found := active_job(self._folder):
                self._queued = Queued(job=found[0], status=found[1])
            elif self._queued and job_status(self._queued.job):  # if it does not answer now, the job still waits
                self._queued = None
        return self._queued

    def forget(self) -> None:
        """Ask again next time: a process runs the sweep."""
        self._queued, self._asked_at = None, -ASK_S
