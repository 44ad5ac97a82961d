"""Which job runs a sweep: one small file in the sweep's folder."""

from __future__ import annotations

import json
import os
import shlex
import zlib
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bilin.errors import ClusterError, SweepRunningError
from bilin.orchestrator.clusters.slurm.queue import GONE, JobStatus, ask
from bilin.results.store.durable import replace_file

_FILE = "job.json"
JOBS = "jobs"
"""Folder of a sweep: what was said by its jobs, and by processes that run it in the background."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that was submitted for a sweep.

    Attributes:
        submitted_at: When this was written down, in UTC.
        log: Where its output goes.
        name: What Slurm calls it; empty where it has not said.
        trace: What the sweep had brought when the job last began; empty before.
        fruitless: How many jobs in a row before it brought nothing.
        ended: Why no other follows it by itself; empty where one may.
        alone: Whether it is this sweep and nothing else, so that who ends the sweep ends the job.
    """

    job_id: str
    submitted_at: str
    log: str
    name: str = ""
    trace: str = ""
    fruitless: int = 0
    ended: str = ""
    alone: bool = True

    def is_fruitless(self, directory: Path) -> bool:
        """Whether it has brought no result and no checkpoint since it last began."""
        return self.trace == trace(directory)


def keep_job(directory: Path, job_id: str, log: str, *, before: Job | None = None) -> None:
    """Write down a job that was submitted; it goes on where one ``before`` it ended, if there is one."""
    status = ask(job_id)
    job = Job(job_id=job_id, submitted_at=_now(), log=log, name=status.name if status else "")
    if before:
        job = replace(job, trace=before.trace, fruitless=before.fruitless, alone=before.alone)
    write_job(directory, job)


def write_job(directory: Path, job: Job) -> None:
    """Put a job in place of the one that is written down."""
    replace_file(directory / _FILE, json.dumps(asdict(job)).encode())


def begin_own_job(directory: Path) -> Job | None:
    """Write down that the job that this process is in begins, again or for the first time; None where it is in none.

    A job whose script was submitted by hand is not known before; it begins a new row of jobs.
    """
    job_id = os.environ.get("SLURM_JOB_ID", "")
    if not job_id:
        return None
    job = kept_job(directory)
    if job is None or job.job_id != job_id:
        status = ask(job_id)
        # A sweep that has taken the place of its script is the job; one in a longer script, or an salloc, a part of it.
        alone = os.environ.get("SLURM_TASK_PID") == str(os.getpid())
        log, name = (status.log, status.name) if status else ("", "")
        job = Job(job_id=job_id, submitted_at=_now(), log=log, name=name, alone=alone)
    fruitless = job.fruitless + 1 if job.is_fruitless(directory) else 0
    job = replace(job, trace=trace(directory), fruitless=fruitless, ended="")
    write_job(directory, job)
    return job


def trace(directory: Path) -> str:
    """What tells whether a sweep has brought anything since: its newest part, and its checkpoints."""
    parts = sorted(path.name for path in directory.glob("trials-*.parquet"))
    checkpoints = sorted((path.name, path.stat().st_mtime_ns) for path in directory.glob("checkpoints/*[0-9a-f]"))
    return f"{parts[-1] if parts else 'nothing'} {zlib.crc32(repr(checkpoints).encode()):08x}"


def kept_job(directory: Path) -> Job | None:
    """The job of a sweep; None where there was none, or the file cannot be read."""
    try:
        return Job(**json.loads((directory / _FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def job_status(job: Job) -> JobStatus | None:
    """How a job stands; None where Slurm is not to be asked.

    It is gone where its number is now that of a job with another name, as on another cluster that sees the store.
    """
    status = ask(job.job_id)
    is_another = status and job.name and status.name not in ("", job.name)
    return JobStatus(state=GONE) if is_another else status


def own_job(directory: Path) -> tuple[Job, JobStatus] | None:
    """The job that is a sweep, and how it stands; None where none waits or runs, or Slurm is not to be asked."""
    job = kept_job(directory)
    status = job_status(job) if job and job.alone else None
    return (job, status) if job and status and not status.is_over else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_no_job(directory: Path) -> None:
    """Raise where a job of this sweep waits or runs.

    Raises:
        SweepRunningError: One does.
        ClusterError: One may, and Slurm does not say.
    """
    job = kept_job(directory)
    if job and job.alone and not job.ended and job_status(job) is None:
        raise ClusterError(
            f"sweep {directory.name!r} had job {job.job_id}, and Slurm does not say whether it waits or runs: nothing "
            f"was submitted. Try again, or see why with `scontrol show job {job.job_id}`"
        )
    if found := own_job(directory):
        job, status = found
        cancel = shlex.join(["bilin", "sweep", "cancel", directory.name, "--store", str(directory.parent)])
        raise SweepRunningError(
            f"sweep {directory.name!r} has job {job.job_id}, which {describe_job(status)}: nothing was submitted. "
            f"It runs what is missing then; to submit another, `{cancel}` first"
        )


def describe_job(status: JobStatus) -> str:
    """How a job stands, as the end of a sentence that begins with the job."""
    word = status.state.lower().replace("_", " ")
    match status.state:
        case "PENDING":
            said = "waits" + (f" ({status.reason})" if status.reason else "")
            said += f", to begin about {status.started_at}" if status.started_at else ""
        case "RUNNING":
            said = f"runs on {status.nodes} since {status.started_at}"
        case "COMPLETED":
            said = "has ended"
        case "FAILED":
            said = f"ended with exit code {status.exit_code}"
        case "GONE":
            said = "is over, and Slurm no longer knows it"
        case _ if status.is_over:
            said = f"is over ({word}{f': {status.reason}' if status.reason else ''})"
        case _:
            said = f"is {word}"
    return said + (
        f", requeued {'once' if status.restarts == 1 else f'{status.restarts} times'}" * bool(status.restarts)
    )
