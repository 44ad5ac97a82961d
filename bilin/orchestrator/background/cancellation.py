"""The end of a running sweep: it gets time to end by itself, then it is killed, and no Slurm job continues it."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bilin.errors import ClusterError
from bilin.folder import SweepFolder
from bilin.machine import guardian
from bilin.machine.slurm import SLURM, JobStatus, Slurm
from bilin.orchestrator.clusters.slurm.job import active_job, record_job, recorded_job, uncertain_job
from bilin.results import DEFAULT_STORE, Holder, Process, existing_sweep, holder

GRACE_S = 60.0  # how long a sweep may take to checkpoint its trials and to end, before it is killed
SLURM_S = 180.0  # how long Slurm may take to end a job: it gives processes `KillWait` seconds first, usually 30
_LEFT_S = 30.0  # how long processes that a sweep leaves behind may take to end: its guardian ends them within seconds

_LOOK_S = 0.1
_ASK_SLURM_S = 1.0

HowEnded = Literal["cancelled", "ended", "killed"]
"""``cancelled``: the job did not run yet. ``ended``: by itself, on request. ``killed``: it did not end in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """How a sweep was ended.

    Attributes:
        holder: What ran it; None if nothing did.
        was_killed: Whether it did not end by itself in time.
        jobs: How its Slurm jobs were ended, by their ids.
    """

    sweep: str
    directory: Path
    holder: Holder | None
    was_killed: bool = False
    jobs: Mapping[str, HowEnded] = field(default_factory=dict)


def cancel(
    sweep: str, *, store: Path | str = DEFAULT_STORE, grace_s: float = GRACE_S, slurm: Slurm = SLURM
) -> Cancelled:
    """End a running sweep. Stored results stay, running trials are checkpointed, and the next launch continues.

    Args:
        sweep: Its name.
        store: Directory of the store.
        grace_s: How long it may take to end by itself, before it is killed.
        slurm: Slurm's commands.

    Raises:
        StoreError: There is no such sweep.
        ClusterError: It cannot be ended from here; the message says where it can.
    """
    folder = existing_sweep(store, sweep)
    jobs = cancel_jobs(folder, grace_s, slurm=slurm)
    if jobs:  # the job that the last of them was to continue may be about to end
        _wait_until(
            lambda: not ((now := holder(store, sweep)) and now.slurm_job and now.slurm_job not in jobs), grace_s
        )
    found = holder(store, sweep)
    if found is None or found.slurm_job in jobs:
        if job := uncertain_job(folder, slurm=slurm):
            raise ClusterError(
                f"no process runs sweep {sweep!r}, but its Slurm job {job.job_id} may wait, and Slurm cannot be asked "
                f"from here: `scancel {job.job_id}` on a machine of the cluster"
            )
        return Cancelled(sweep=sweep, directory=folder.path, holder=None, jobs=jobs)
    if found.process.is_here:
        was_killed = _end_process(found.process, grace_s)
        return Cancelled(sweep=sweep, directory=folder.path, holder=found, was_killed=was_killed, jobs=jobs)
    if not found.ray_job:
        raise ClusterError(_where_to_cancel(folder, found))
    from bilin.orchestrator.clusters import jobs as ray_jobs

    job_id, _, address = found.ray_job.partition("@")
    ray_jobs.stop(address, job_id)  # Ray gives it a few seconds to checkpoint its trials
    if not _wait_until(lambda: ray_jobs.state(address, job_id) in ray_jobs.OVER, _LEFT_S):
        raise ClusterError(f"Ray job {job_id} of sweep {sweep!r} has not ended: `ray job stop {job_id}` on its head")
    return Cancelled(sweep=sweep, directory=folder.path, holder=found, jobs=jobs)


def cancel_jobs(folder: SweepFolder, grace_s: float, *, slurm: Slurm = SLURM) -> dict[str, HowEnded]:
    """End the Slurm job of a sweep that waits or runs, and those that continue it.

    Returns:
        How each job was ended, by its id; empty if there is none, or Slurm does not answer.

    Raises:
        ClusterError: Slurm refuses, or has not ended a job in time.
    """
    ended: dict[str, HowEnded] = {}
    while active := active_job(folder, slurm=slurm):  # repeated: a job whose time was up may have submitted the next
        job, status = active
        ended.setdefault(job.job_id, _end_job(folder, job.job_id, status, grace_s, slurm))
        if _is_inside(job.job_id):
            break
    if ended and (last := recorded_job(folder)):
        record_job(folder, replace(last, ended="it was cancelled"))
    return ended


def _end_job(folder: SweepFolder, job_id: str, status: JobStatus, grace_s: float, slurm: Slurm) -> HowEnded:
    def has_ended() -> bool:
        """Return whether the sweep no longer runs in its job; Slurm may have taken the job back into its queue."""
        if _is_inside(job_id):
            return holder(folder.store, folder.name) is None
        now = slurm.status(job_id)
        return now is not None and now.state not in ("RUNNING", "COMPLETING")

    def is_over() -> bool:
        now = slurm.status(job_id)
        return now is not None and now.is_over

    runs = status.state == "RUNNING"
    if runs and grace_s:
        slurm.cancel(job_id, "--batch", "--signal=TERM")  # the sweep process only: checkpoints need its Ray
        if _wait_until(has_ended, grace_s, look_s=_LOOK_S if _is_inside(job_id) else _ASK_SLURM_S):
            return "ended"
    slurm.cancel(job_id)
    if not _wait_until(is_over, SLURM_S, look_s=_ASK_SLURM_S):
        now = slurm.status(job_id) or status
        raise ClusterError(
            f"job {job_id} {now.describe()}: Slurm was told to end it {SLURM_S:g} s ago; "
            f"`scontrol show job {job_id}` says more"
        )
    return "killed" if runs else "cancelled"


def _is_inside(job_id: str) -> bool:
    """Return whether this process is part of the job, and ends with it."""
    return os.environ.get("SLURM_JOB_ID") == job_id


def _wait_until(condition: Callable[[], bool], timeout_s: float, *, look_s: float = _LOOK_S) -> bool:
    """Wait for a condition, and return whether it came true in time."""
    until = time.monotonic() + timeout_s
    while not (met := condition()) and time.monotonic() < until:
        time.sleep(look_s)
    return met


def _end_process(process: Process, grace_s: float) -> bool:
    """End a process of this machine and all that it started; return whether it had to be killed."""
    folders = guarded_folders(process.pid)
    _signal(process, signal.SIGTERM)
    ended = _wait_until(lambda: not process.is_alive, grace_s)
    if not ended:
        folders |= guarded_folders(process.pid)
        _signal(process, signal.SIGKILL)
        _wait_until(lambda: not process.is_alive, _LEFT_S)
    if not _wait_until(lambda: not any(guardian.belonging(folder) for folder in folders), _LEFT_S):
        raise ClusterError(f"process {process.pid} has ended, but processes that it started on this machine have not")
    return not ended


def guarded_folders(pid: int) -> set[str]:
    """Return the folders of the Rays that a process has started."""
    folders = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            argv = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if parent == pid and (folder := guardian.guarded_folder(argv)):
                folders.add(folder)
    return folders


def _signal(process: Process, number: signal.Signals) -> None:
    """Signal a process, and never a later one with its number."""
    with suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):  # macOS
            if process.is_alive:
                os.kill(process.pid, number)
            return
        descriptor = os.pidfd_open(process.pid)  # from now on the number cannot belong to another process
        try:
            if process.is_alive:
                signal.pidfd_send_signal(descriptor, number)
        except PermissionError as error:
            raise ClusterError(f"process {process.pid} is another user's: ask them to end the sweep") from error
        finally:
            os.close(descriptor)


def _where_to_cancel(folder: SweepFolder, found: Holder) -> str:
    """Return the message about a sweep that cannot be ended from here."""
    command = shlex.join(["bilin", "sweep", "cancel", folder.name, "--store", str(folder.store.absolute())])
    text = f"sweep {folder.name!r} is run by {found}, which cannot be ended from here: "
    if not found.is_known:
        return f"{text}end it where it runs; if nothing runs the sweep, the next launch takes it over"
    if found.process.shares_system:
        return f"{text}it is in a container of this machine; run there: {command}"
    silent = f" (silent for {found.silent_s:.0f} s: if it is dead, the next launch takes over the sweep)"
    late = silent if found.silent_s > 2 * GRACE_S else ""
    if found.slurm_job:
        return f"{text}`scancel {found.slurm_job}` ends its whole Slurm job{late}"
    return f"{text}run there: ssh {found.host} {command}{late}"
