"""The next job, if one ends before its sweep.

If Slurm ends the job, because of its time limit or a preemption, the sweep continues: in the same job if Slurm takes
it back into the queue, otherwise in another one with the same script. If the user ends it, with `scancel` or Ctrl-C,
no further job is submitted. The same holds after several jobs in a row with neither a new result nor a checkpoint.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bilin.errors import ClusterError, InterruptedSweepError
from bilin.folder import SweepFolder
from bilin.machine.slurm import SLURM, WARNING_SIGNAL, Slurm
from bilin.orchestrator.clusters.slurm.job import (
    Job,
    begin_own_job,
    job_status,
    record_job,
    record_submission,
    recorded_job,
)


@contextmanager
def continued(folder: SweepFolder, patience: int, *, slurm: Slurm = SLURM) -> Iterator[None]:
    """Run a launch in a job; if Slurm ends the job first, let another one continue.

    After ``patience`` jobs in a row without progress, no further job is submitted.

    Raises:
        ClusterError: There have been that many: Slurm itself takes a job back without limit.
    """
    job = begin_own_job(folder, slurm=slurm)
    if job is not None and job.fruitless >= patience:
        raise ClusterError(_end_here(folder, job, job.fruitless))
    try:
        yield
    except InterruptedSweepError as error:
        if is_ended_by_slurm(error.signal, folder, slurm=slurm):
            print(continue_in_next_job(folder, patience, slurm=slurm), file=sys.stderr, flush=True)
        raise


def is_ended_by_slurm(number: int | None, folder: SweepFolder, *, slurm: Slurm = SLURM) -> bool:
    """Return whether a signal came from Slurm because the time is up or another job takes the place."""
    job = recorded_job(folder)
    if job is None or number not in (WARNING_SIGNAL, signal.SIGTERM):
        return False
    if number == WARNING_SIGNAL:
        return True
    status = job_status(job, slurm=slurm)
    return status is not None and status.is_to_make_room


def continue_in_next_job(folder: SweepFolder, patience: int, *, slurm: Slurm = SLURM) -> str:
    """Requeue the job, or submit the next one; return what was done, as text."""
    job = recorded_job(folder)
    assert job is not None
    if (fruitless := job.num_fruitless(folder)) >= patience:
        return _end_here(folder, job, fruitless)
    # Printed first: a requeue ends this process.
    print("this job ends before the sweep is complete: another one continues it", file=sys.stderr, flush=True)
    if slurm.requeue(job.job_id):
        return f"job {job.job_id} goes back to the queue"
    folder.jobs.mkdir(exist_ok=True)
    try:
        after = f"--dependency=afterany:{job.job_id}"
        next_id = slurm.submit(slurm.script_of(job.job_id), after, log=folder.slurm_log_pattern)
    except ClusterError as error:
        return f"no further job was submitted: {error}; launch the sweep again"
    record_submission(folder, next_id, str(folder.job_log(next_id)), before=job, slurm=slurm)
    return f"job {next_id} continues the sweep"


def _end_here(folder: SweepFolder, job: Job, fruitless: int) -> str:
    why = f"{fruitless} jobs in a row stored no result and no checkpoint"
    record_job(folder, replace(job, ended=why))
    advice = "raise cluster.time if the jobs were too short"
    return f"no further job was submitted: {why}; {advice}. See {job.log or 'their logs'}"
