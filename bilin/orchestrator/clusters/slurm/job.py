"""Which Slurm job runs a sweep: a small file in the sweep's folder, and what Slurm says about that job."""

from __future__ import annotations

import json
import os
import shlex
import zlib
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from bilin.errors import ClusterError, SweepRunningError
from bilin.folder import SweepFolder
from bilin.machine.slurm import GONE, SLURM, JobStatus, Slurm
from bilin.results.store.durable import replace_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that was submitted for a sweep.

    Attributes:
        submitted_at: When this was recorded, in UTC.
        log: Where its output goes.
        name: Its name in Slurm; empty if that is not known.
        trace: The sweep's `progress_mark` when the job last began; empty before that.
        fruitless: How many jobs in a row before it stored neither a result nor a checkpoint.
        ended: Why no other job follows by itself; empty if one may.
        alone: Whether the job runs this sweep and nothing else, so that ending the sweep ends the job.
    """

    job_id: str
    submitted_at: str
    log: str
    name: str = ""
    trace: str = ""
    fruitless: int = 0
    ended: str = ""
    alone: bool = True

    def num_fruitless(self, folder: SweepFolder) -> int:
        """Return how many jobs in a row, this one included, have stored nothing since they last began."""
        return self.fruitless + 1 if self.trace == progress_mark(folder) else 0


def progress_mark(folder: SweepFolder) -> str:
    """Return a text that changes when a sweep stores results or checkpoints."""
    newest = max((number for number, _ in folder.part_files()), default=0)
    part = folder.trials_part(newest).name if newest else "nothing"
    checkpoints = sorted((path.name, path.stat().st_mtime_ns) for path in folder.complete_checkpoints())
    return f"{part} {zlib.crc32(repr(checkpoints).encode()):08x}"


def recorded_job(folder: SweepFolder) -> Job | None:
    """Return the job of a sweep; None if there was none, or the file cannot be read."""
    try:
        return Job(**json.loads(folder.job.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def record_job(folder: SweepFolder, job: Job) -> None:
    """Record a job in place of the one before."""
    replace_file(folder.job, json.dumps(asdict(job)).encode())


def record_submission(
    folder: SweepFolder, job_id: str, log: str, *, before: Job | None = None, slurm: Slurm = SLURM
) -> None:
    """Record a job that was submitted, to continue the one ``before`` it if there is one."""
    status = slurm.status(job_id)
    job = Job(job_id=job_id, submitted_at=_now(), log=log, name=status.name if status else "")
    if before:
        job = replace(job, trace=before.trace, fruitless=before.fruitless, alone=before.alone)
    record_job(folder, job)


def begin_own_job(folder: SweepFolder, *, slurm: Slurm = SLURM) -> Job | None:
    """Record that the job of this process begins, for the first time or again. Return None outside of a job.

    A job whose script the user submitted is not recorded before; it begins a new count.
    """
    job_id = os.environ.get("SLURM_JOB_ID", "")
    if not job_id:
        return None
    job = recorded_job(folder)
    if job is None or job.job_id != job_id:
        status = slurm.status(job_id)
        log, name = (status.log, status.name) if status else ("", "")
        # A sweep that has replaced its script is the whole job; in a longer script or an salloc it is a part of it.
        alone = os.environ.get("SLURM_TASK_PID") == str(os.getpid())
        job = Job(job_id=job_id, submitted_at=_now(), log=log, name=name, alone=alone)
    job = replace(job, trace=progress_mark(folder), fruitless=job.num_fruitless(folder), ended="")
    record_job(folder, job)
    return job


def job_status(job: Job, *, slurm: Slurm = SLURM) -> JobStatus | None:
    """Return the state of a job; None if Slurm does not answer.

    It is gone if its number now belongs to a job with another name, for example on another cluster with the same store.
    """
    status = slurm.status(job.job_id)
    is_another = status and job.name and status.name not in ("", job.name)
    return JobStatus(state=GONE) if is_another else status


def active_job(folder: SweepFolder, *, slurm: Slurm = SLURM) -> tuple[Job, JobStatus] | None:
    """Return the job that runs a sweep, and its state; None if none waits or runs, or Slurm does not answer."""
    job = recorded_job(folder)
    status = job_status(job, slurm=slurm) if job and job.alone else None
    return (job, status) if job and status and not status.is_over else None


def uncertain_job(folder: SweepFolder, *, slurm: Slurm = SLURM) -> Job | None:
    """Return the job of a sweep if Slurm does not answer, so that it may wait or run."""
    job = recorded_job(folder)
    return job if job and job.alone and not job.ended and job_status(job, slurm=slurm) is None else None


def check_no_job(folder: SweepFolder, *, slurm: Slurm = SLURM) -> None:
    """Raise if a job of this sweep waits or runs.

    Raises:
        SweepRunningError: One does.
        ClusterError: One may, and Slurm does not answer.
    """
    if job := uncertain_job(folder, slurm=slurm):
        raise ClusterError(
            f"sweep {folder.name!r} had job {job.job_id}, and Slurm does not say whether it waits or runs: nothing was "
            f"submitted. Try again, or see why with `scontrol show job {job.job_id}`"
        )
    if active := active_job(folder, slurm=slurm):
        job, status = active
        cancel = shlex.join(["bilin", "sweep", "cancel", folder.name, "--store", str(folder.store)])
        raise SweepRunningError(
            f"sweep {folder.name!r} has job {job.job_id}, which {status.describe()}: nothing was submitted. "
            f"That job runs the missing trials; to submit another, `{cancel}` first"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
