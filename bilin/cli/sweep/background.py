"""Descriptions of sweeps in other processes."""

from __future__ import annotations

import shlex
from pathlib import Path

from bilin.cli.sweep.monitor.describe import describe_status
from bilin.errors import InterruptedSweepError
from bilin.orchestrator import Ended
from bilin.orchestrator.background import Cancelled, Detached, RayJob


def describe_detached(detached: Detached | RayJob) -> str:
    """Return lines that say where a sweep runs, how to watch it and how to end it."""
    where = f"process {detached.pid}" if isinstance(detached, Detached) else f"Ray job {detached.job_id}"
    lines = [f"{detached.sweep}: runs in the background, {where}"]
    lines += [f"  {what:6}  {command(what, detached.sweep, detached.directory)}" for what in ("watch", "cancel")]
    return "\n".join([*lines, f"  log     {detached.log}"])


def describe_cancelled(cancelled: Cancelled, *, grace_s: float) -> str:
    """Return lines that say how a sweep was ended."""
    killed = f"did not end within {grace_s:g} s and was killed"
    texts = {"cancelled": "is cancelled", "ended": "has ended", "killed": killed}
    ends = [f"job {job_id} {texts[how]}" for job_id, how in cancelled.jobs.items()]
    if cancelled.holder:
        ends.append(f"process {cancelled.holder.pid} {killed if cancelled.was_killed else 'has ended'}")
    if not ends:
        return f"{cancelled.sweep}: nothing runs it; the store is as it was"
    return f"{cancelled.sweep}: {', '.join(ends)}; the same launch goes on from here"


def describe_ended(ended: Ended) -> str:
    """Return lines that say how a sweep stands that nothing runs, and how to continue it."""
    status = ended.status
    lines = [describe_status(status.sweep, status, everything=False)]
    if ended.exit_code == InterruptedSweepError.exit_code:
        how = "has ended before its end" if ended.ran else "does not run"
        lines.append(f"it {how}: `bilin sweep launch` with its grid.yaml and this store runs the rest")
    return "\n".join(lines)


def command(what: str, sweep: str, directory: Path) -> str:
    """Return a command about a sweep that works in every folder of this machine."""
    return shlex.join(["bilin", "sweep", what, sweep, "--store", str(directory.parent.absolute())])
