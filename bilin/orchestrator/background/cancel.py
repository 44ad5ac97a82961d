"""Ending a sweep that runs: with grace, then for certain."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bilin.errors import ClusterError
from bilin.orchestrator.clusters import guardian
from bilin.results import DEFAULT_STORE, Holder, Process, existing_sweep, holder

GRACE_S = 60.0
"""How long a sweep may take to keep the state of its trials and to end, before it is killed."""

_GUARDED_S = 30.0
"""How long what it leaves behind may take to end: its guardian sees to that within seconds."""

_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """How a sweep was ended.

    Attributes:
        holder: What ran it; None where nothing did.
        was_killed: Whether it did not end by itself in time.
    """

    sweep: str
    directory: Path
    holder: Holder | None
    was_killed: bool = False


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
    found = holder(store, sweep)
    if found is None:
        return Cancelled(sweep=sweep, directory=directory, holder=None)
    if not found.process.is_here and found.ray_job:
        _stop_job(sweep, found.ray_job)
        return Cancelled(sweep=sweep, directory=directory, holder=found)
    if not found.process.is_here:
        raise ClusterError(_elsewhere(sweep, directory, found))
    return Cancelled(sweep=sweep, directory=directory, holder=found, was_killed=_end(found.process, grace_s))


def _end(process: Process, grace_s: float) -> bool:
    """End a process of this machine and all that it started; whether it had to be killed."""
    marks = guardians(process.pid)
    _send(process, signal.SIGTERM)
    ended = _until(lambda: not process.is_alive, grace_s)
    if not ended:
        marks |= guardians(process.pid)
        _send(process, signal.SIGKILL)
        _until(lambda: not process.is_alive, _GUARDED_S)
    if not _until(lambda: not any(guardian.marked(mark) for mark in marks), _GUARDED_S):
        raise ClusterError(f"process {process.pid} has ended, but processes that it started on this machine have not")
    return not ended


def _stop_job(sweep: str, job: str) -> None:
    """Have Ray end the job that a sweep is; it gives it a few seconds to keep what runs."""
    from bilin.orchestrator.clusters import jobs

    job_id, _, address = job.partition("@")
    jobs.stop(address, job_id)
    if not _until(lambda: jobs.state(address, job_id) in jobs.OVER, _GUARDED_S):
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


def guardians(pid: int) -> set[str]:
    """The marks of the Rays that a process has started."""
    marks = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            if parent == pid and guardian.__file__ in words:
                marks.add(words[words.index(guardian.__file__) + 1])
    return marks


def _until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether a condition came true in time."""
    until = time.monotonic() + timeout_s
    while not (met := condition()) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return met


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
