"""The end of a sweep's job that its user asks for: with grace, then for certain, and with no other after it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from bilin.errors import ClusterError
from bilin.orchestrator.clusters.slurm.job import describe_job, kept_job, own_job, write_job
from bilin.orchestrator.clusters.slurm.queue import JobStatus, ask, cancel_job
from bilin.results import holder

CERTAIN_S = 180.0
"""How long Slurm may take to end a job for certain: it gives its processes `KillWait` seconds first, mostly 30."""

ASK_S = 1.0
"""How often Slurm is asked meanwhile."""

LOOK_S = 0.1

How = Literal["cancelled", "ended", "killed"]
"""``cancelled``: it did not run. ``ended``: by itself, when it was told to. ``killed``: it did not in time."""


def end_jobs(directory: Path, grace_s: float) -> dict[str, How]:
    """End the job of a sweep that waits or runs, and what follows it.

    Args:
        directory: The sweep's folder.
        grace_s: How long it may take to keep what runs and to end by itself.

    Returns:
        How each of them ended, by their ids; none where there is none, or Slurm is not to be asked.

    Raises:
        ClusterError: Slurm refuses, or has not ended one in time.
    """
    ended: dict[str, How] = {}
    while found := own_job(directory):  # again: one whose time was up may have submitted the next
        job, status = found
        ended.setdefault(job.job_id, _end(directory, job.job_id, status, grace_s))
        if _is_inside(job.job_id):
            break
    if ended and (last := kept_job(directory)):
        write_job(directory, replace(last, ended="it was cancelled"))
    return ended


def _end(directory: Path, job_id: str, status: JobStatus, grace_s: float) -> How:
    runs = status.state == "RUNNING"
    if runs and grace_s:
        cancel_job(job_id, "--batch", "--signal=TERM")  # the sweep alone: its Ray is needed to keep what runs
        look_s = LOOK_S if _is_inside(job_id) else ASK_S
        if until(lambda: _has_ended(directory, job_id), grace_s, look_s=look_s):
            return "ended"
    cancel_job(job_id)
    if not until(lambda: _is_over(job_id), CERTAIN_S, look_s=ASK_S):
        now = ask(job_id) or status
        raise ClusterError(
            f"job {job_id} {describe_job(now)}: Slurm was told to end it, and has not within {CERTAIN_S:g} s; "
            f"`scontrol show job {job_id}` says more"
        )
    return "killed" if runs else "cancelled"


def _has_ended(directory: Path, job_id: str) -> bool:
    """Whether the sweep runs no more in its job; Slurm may have taken that back into its queue."""
    if _is_inside(job_id):
        return holder(directory.parent, directory.name) is None
    status = ask(job_id)
    return status is not None and status.state not in ("RUNNING", "COMPLETING")


def _is_over(job_id: str) -> bool:
    status = ask(job_id)
    return status is not None and status.is_over


def _is_inside(job_id: str) -> bool:
    """Whether this process is part of the job, and ends with it."""
    return os.environ.get("SLURM_JOB_ID") == job_id


def until(condition: Callable[[], bool], timeout_s: float, *, look_s: float = LOOK_S) -> bool:
    """Whether a condition came true in time."""
    end = time.monotonic() + timeout_s
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(look_s)
    return met
