"""A job that ends before its sweep: whether another follows, and how it is had.

The time limit and a preemption are Slurm's doing: the sweep goes on, in the same job where Slurm takes it back
into its queue, otherwise in another with the same script. `scancel` and Ctrl-C are the user's, and it stays ended.
Jobs that bring nothing, neither a result nor a checkpoint, are counted: after some in a row none follows.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bilin.errors import ClusterError, InterruptedSweepError
from bilin.orchestrator.clusters.slurm.job import JOBS, Job, begin_own_job, job_status, keep_job, kept_job, write_job
from bilin.orchestrator.clusters.slurm.queue import requeue, script_of, submit

WARNING = signal.SIGUSR1
"""What `#SBATCH --signal` sends before the time limit."""


@contextmanager
def going_on(directory: Path, patience: int) -> Iterator[None]:
    """Around a launch in a job: when the job ends before it, have another that goes on.

    Args:
        directory: The sweep's folder.
        patience: After how many jobs in a row without progress none follows.

    Raises:
        ClusterError: So many have been: Slurm itself takes a job back as often as it likes.
    """
    job = begin_own_job(directory)
    if job is not None and job.fruitless >= patience:
        raise ClusterError(_stay(directory, job, job.fruitless))
    try:
        yield
    except InterruptedSweepError as error:
        if is_slurms_doing(error.signal, directory):
            print(go_on(directory, patience), file=sys.stderr, flush=True)
        raise


def is_slurms_doing(number: int | None, directory: Path) -> bool:
    """Whether a signal came from Slurm to make room, and another job is to be asked for."""
    job = kept_job(directory)
    if job is None or number not in (WARNING, signal.SIGTERM):
        return False
    if number == WARNING:
        return True
    status = job_status(job)
    return status is not None and status.is_to_make_room


def go_on(directory: Path, patience: int) -> str:
    """Ask Slurm for the next job; what came of it, in words."""
    job = kept_job(directory)
    assert job is not None
    fruitless = job.fruitless + 1 if job.is_fruitless(directory) else 0
    if fruitless >= patience:
        return _stay(directory, job, fruitless)
    # Said before: Slurm ends a job that it takes back.
    print("this job's time is up before the sweep is complete: another goes on", file=sys.stderr, flush=True)
    if requeue(job.job_id):
        return f"job {job.job_id} goes back to the queue"
    logs = directory / JOBS
    logs.mkdir(exist_ok=True)
    try:
        after = f"--dependency=afterany:{job.job_id}"
        next_id = submit(script_of(job.job_id), Path(str(logs).replace("%", "%%")) / "%j.log", after)
    except ClusterError as error:
        return f"no job follows: {error}; launch the sweep again"
    keep_job(directory, next_id, str(logs / f"{next_id}.log"), before=job)
    return f"job {next_id} goes on from here"


def _stay(directory: Path, job: Job, fruitless: int) -> str:
    said = f"{fruitless} jobs in a row brought no result and no checkpoint"
    write_job(directory, replace(job, ended=said))
    return f"no job follows by itself: {said}; is their time too short? See {job.log or 'their logs'}"
