"""Looking at sweeps from the store, and what Slurm says of their jobs: how they stand, and single trials."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bilin.errors import GridError, InputError, StoreError
from bilin.folder import SweepFolder
from bilin.machine.slurm import JobStatus
from bilin.orchestrator.clusters.slurm.job import Job, job_status, recorded_job
from bilin.orchestrator.grid import restore_grid
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.orchestrator.running.activity import Activity, read_activity
from bilin.record import Status
from bilin.results import DEFAULT_STORE, Holder, existing_sweep, holder, stored, stored_grid, sweep_names

TRIAL_ID_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """How a sweep stands.

    Attributes:
        plan: The grid as last launched against what is stored.
        rows: All rows of the sweep by status, those that the grid no longer wants too.
        running: Who runs it; None where nobody does, or where this cannot be seen from here.
        activity: What that process last said of its trials; None where nothing runs, or has said nothing yet.
        job: The Slurm job that was last submitted for it; None where there was none.
        job_status: What Slurm says of that job; None where it is not to be asked.
    """

    sweep: str
    directory: Path
    plan: Plan
    rows: Mapping[Status, int]
    running: Holder | None
    activity: Activity | None
    job: Job | None
    job_status: JobStatus | None

    @property
    def is_queued(self) -> bool:
        """Whether Slurm has a job that is this sweep, and that waits or runs."""
        return self.job is not None and self.job.alone and self.job_status is not None and not self.job_status.is_over


def sweeps(store: Path | str = DEFAULT_STORE) -> list[str]:
    """The names of the sweeps of a store. Raises StoreError where there is no store."""
    return sweep_names(store)


def status(sweep: str, *, store: Path | str = DEFAULT_STORE) -> SweepStatus:
    """How a sweep stands, by the grid as it was last launched.

    Raises:
        StoreError: There is no such sweep, or it cannot be read.
    """
    directory = existing_sweep(store, sweep)
    text = stored_grid(store, sweep)
    if text is None:
        raise StoreError(f"sweep {sweep!r} has no grid that can be read: launch it once more, to its start")
    try:
        grid = restore_grid(text)
    except GridError as error:
        what_to_do = "install what it names, or launch the sweep again"
        raise StoreError(f"{directory / 'grid.json'} cannot be read here: {what_to_do} ({error})") from error
    trials = stored(store, sweep)
    job = recorded_job(SweepFolder(directory))
    running = holder(store, sweep)
    return SweepStatus(
        sweep=sweep,
        directory=directory,
        plan=make_plan(grid, trials),
        rows=Counter(trial.status for trial in trials.values()),
        running=running,
        activity=read_activity(directory) if running else None,
        job=job,
        job_status=job_status(job) if job else None,
    )


def statuses(*, store: Path | str = DEFAULT_STORE) -> dict[str, SweepStatus | InputError]:
    """How each sweep of a store stands; for one that cannot be read, why."""
    return {sweep: _status_or_fault(sweep, store) for sweep in sweeps(store)}


def _status_or_fault(sweep: str, store: Path | str) -> SweepStatus | InputError:
    try:
        return status(sweep, store=store)
    except InputError as error:
        return error


def find_trial(trial_id: str, *, store: Path | str = DEFAULT_STORE, sweep: str | None = None) -> dict[str, Any]:
    """The stored row of a trial by its id or the first digits of it.

    Raises:
        StoreError: None, or more than one, begins so.
    """
    from bilin.results import query

    if not trial_id or not TRIAL_ID_DIGITS.issuperset(trial_id):
        raise StoreError(f"{trial_id!r} is no trial id: its hexadecimal digits, or the first of them, are accepted")
    where = f"starts_with(trial_id, '{trial_id}')"
    rows = query(store=store, view="trials", where=where, sweep=sweep, everything=True).to_pylist()
    if not rows:
        raise StoreError(f"no trial begins with {trial_id}: `bilin results query --view trials` lists the ids")
    if len(rows) > 1:
        places = ", ".join(f"{row['sweep']}/{row['trial_id']}" for row in rows[:5])
        raise StoreError(f"{len(rows)} trials begin with {trial_id} ({places}): give more digits, or --sweep")
    row: dict[str, Any] = rows[0]
    return row


def repeat_grid(row: Mapping[str, Any]) -> str:
    """The grid.yaml of one trial alone: launched into another store, it repeats the trial."""
    from ruamel.yaml import YAML

    spec = json.loads(row["spec"])
    document = {
        "name": f"repeat-{row['trial_id']}",
        "tasks": [spec["task"]],
        "models": [spec["model"]],
        "train": spec["train"],
        "validate": spec["validate"],
        "test": spec["test"],
        "learning_rate": {"choices": [spec["lr"]]},
        "seeds": [spec["seed"]],
        "resources": spec["resources"],
    }
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(document, text)
    return text.getvalue()
