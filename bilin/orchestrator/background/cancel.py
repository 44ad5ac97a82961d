"""Ending a sweep that runs: with grace, then for certain."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bilin.errors import ClusterError
from bilin.orchestrator.clusters import guardian
from bilin.orchestrator.clusters.slurm.end import How, end_jobs, until
from bilin.orchestrator.clusters.slurm.job import job_status, kept_job
from bilin.results import DEFAULT_STORE, Holder, Process, existing_sweep, holder

GRACE_S = 60.0
"""How long a sweep may take to keep the state of its trials and to end, before it is killed."""

_GUARDED_S = 30.0
"""How long what it leaves behind may take to end: its guardian sees to that within seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """How a sweep was ended.

    Attributes:
        holder: What ran it; None where nothing did.
        was_killed: Whether it did not end by itself in time.
        jobs: How its Slurm jobs were ended, by their ids.
    """

    sweep: str
    directory: Path
    holder: Holder | None
    was_killed: bool = False
    jobs: Mapping[str, How] = field(default_factory=dict)


def cancel(sweep: str, *, store: Path | str = DEFAULT_STORE, grace_s: float = GRACE_S) -> Cancelled:
    """End a sweep that runs; what is stored stays, running trials are kept, and the next launch goes on.

    Args:
        sweep: Its name.
        store: Directory of the store.
        grace_s: How long it may take to end by itself, before it is killed.

    Raises:
        StoreError: There is no such sweep.
        ClusterError: It cannot be ended from here; the message says where.
    """
    directory = existing_sweep(store, sweep)
    jobs = end_jobs(directory, grace_s)
    if jobs:  # what the last of them was to follow may be about to end
        until(lambda: not _is_in_another(holder(store, sweep), jobs), grace_s)
    found = holder(store, sweep)
    if found is None or found.slurm_job in jobs:
        _check_no_other(sweep, directory)
        return Cancelled(sweep=sweep, directory=directory, holder=None, jobs=jobs)
    if not found.process.is_here and found.ray_job:
        _stop_job(sweep, found.ray_job)
        return Cancelled(sweep=sweep, directory=directory, holder=found, jobs=jobs)
    if not found.process.is_here:
        raise ClusterError(_elsewhere(sweep, directory, found))
    was_killed = _end(found.process, grace_s)
    return Cancelled(sweep=sweep, directory=directory, holder=found, was_killed=was_killed, jobs=jobs)


def _is_in_another(found: Holder | None, jobs: Mapping[str, How]) -> bool:
    return found is not None and bool(found.slurm_job) and found.slurm_job not in jobs


def _check_no_other(sweep: str, directory: Path) -> None:
    """Raise where a job of the sweep may wait, and Slurm is not to be asked."""
    job = kept_job(directory)
    if job and job.alone and not job.ended and job_status(job) is None:
        raise ClusterError(
            f"no process runs sweep {sweep!r}, but its Slurm job {job.job_id} may wait, and Slurm cannot be asked from "
            f"here: `scancel {job.job_id}` on a machine of the cluster"
        )


def _end(process: Process, grace_s: float) -> bool:
    """End a process of this machine and all that it started; whether it had to be killed."""
    folders = guarded(process.pid)
    _send(process, signal.SIGTERM)
    ended = until(lambda: not process.is_alive, grace_s)
    if not ended:
        folders |= guarded(process.pid)
        _send(process, signal.SIGKILL)
        until(lambda: not process.is_alive, _GUARDED_S)
    if not until(lambda: not any(guardian.belonging(folder) for folder in folders), _GUARDED_S):
        raise ClusterError(f"process {process.pid} has ended, but processes that it started on this machine have not")
    return not ended


def _stop_job(sweep: str, job: str) -> None:
    """Have Ray end the job that a sweep is; it gives it a few seconds to keep what runs."""
    from bilin.orchestrator.clusters import jobs

    job_id, _, address = job.partition("@")
    jobs.stop(address, job_id)
    if not until(lambda: jobs.state(address, job_id) in jobs.OVER, _GUARDED_S):
        raise ClusterError(f"Ray job {job_id} of sweep {sweep!r} has not ended: `ray job stop {job_id}` on its head")


def _send(process: Process, number: signal.Signals) -> None:
    """Signal a process, and never a later one with its number."""
    with suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):  # as on macOS
            if process.is_alive:
                os.kill(process.pid, number)
            return
        descriptor = os.pidfd_open(process.pid)  # from here on the number cannot come to mean another
        try:
            if process.is_alive:
                signal.pidfd_send_signal(descriptor, number)
        except PermissionError as error:
            raise ClusterError(f"process {process.pid} is another user's: ask them to end the sweep") from error
        finally:
            os.close(descriptor)


def guarded(pid: int) -> set[str]:
    """The folders of the Rays that a process has started."""
    folders = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            parent = int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            if parent == pid and guardian.__file__ in words:
                folders.add(words[words.index(guardian.__file__) + 1])
    return folders


def _elsewhere(sweep: str, directory: Path, found: Holder) -> str:
    command = shlex.join(["bilin", "sweep", "cancel", sweep, "--store", str(directory.parent.absolute())])
    said = f"sweep {sweep!r} is run by {found}, which cannot be ended from here: "
    if found.process.shares_system:
        return f"{said}it is in a container of this machine; run there: {command}"
    heard = f" (not heard of for {found.silent_s:.0f} s: if it is dead, the next launch takes the sweep over)"
    late = heard if found.silent_s > 2 * GRACE_S else ""
    if found.slurm_job:
        return f"{said}`scancel {found.slurm_job}` ends its whole Slurm job{late}"
    return f"{said}run there: ssh {found.host} {command}{late}"
