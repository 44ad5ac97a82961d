"""How sweeps stand: from the store, and from what Slurm says of their jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bilin.errors import GridError, InputError, StoreError
from bilin.folder import SweepFolder
from bilin.machine.slurm import JobStatus
from bilin.orchestrator.clusters.slurm.job import Job, job_status, recorded_job
from bilin.orchestrator.grid import restore_grid
from bilin.orchestrator.planning.asked import read_asked
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.orchestrator.sweep.snapshot import Snapshot, read_snapshot
from bilin.record import Status
from bilin.results import DEFAULT_STORE, Holder, existing_sweep, holder, stored, stored_grid, sweep_names


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """How a sweep stands.

    Attributes:
        plan: The grid of the last launch, compared with what is stored.
        rows: All rows of the sweep by status, including those that the grid no longer wants.
        holder: The process that runs it; None if none does, or if that cannot be seen from here.
        snapshot: The latest snapshot of that process; None if nothing runs, or it has not written one yet.
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


def status(sweep: str, *, store: Path | str = DEFAULT_STORE) -> SweepStatus:
    """Return how a sweep stands, by the grid of its last launch.

    Raises:
        StoreError: There is no such sweep, or it cannot be read.
    """
    folder = existing_sweep(store, sweep)
    text = stored_grid(store, sweep)
    if text is None:
        raise StoreError(f"sweep {sweep!r} has no grid that can be read: launch it again, which stores one")
    try:
        grid = restore_grid(text)
    except GridError as error:
        what_to_do = "install what it names, or launch the sweep again"
        raise StoreError(f"{folder.grid} cannot be read here: {what_to_do} ({error})") from error
    trials = stored(store, sweep)
    job = recorded_job(folder)
    running = holder(store, sweep)
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


def statuses(*, store: Path | str = DEFAULT_STORE) -> dict[str, SweepStatus | InputError]:
    """Return how each sweep of a store stands; for one that cannot be read, the error."""
    found: dict[str, SweepStatus | InputError] = {}
    for sweep in sweep_names(store):
        try:
            found[sweep] = status(sweep, store=store)
        except InputError as error:
            found[sweep] = error
    return found
