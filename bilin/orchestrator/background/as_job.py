"""A launch as a job of a Ray cluster."""

from __future__ import annotations

import secrets
import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from bilin.errors import ClusterError
from bilin.folder import SweepFolder
from bilin.orchestrator.request import LaunchRequest
from bilin.orchestrator.sweep.snapshot import read_snapshot
from bilin.results import RAY_JOB, holder

_LOOK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RayJob:
    """A sweep that runs as a Ray job.

    Attributes:
        log: Where its output goes.
    """

    sweep: str
    directory: Path
    job_id: str
    log: Path


def submit_job(request: LaunchRequest) -> RayJob:
    """Submit a launch as a job of the Ray at the request's address; return when the sweep runs.

    Raises:
        ClusterError: The job cannot be submitted, or ended before the sweep ran; the message has its output.
    """
    from bilin.orchestrator.clusters import jobs

    address, folder = request.cluster.address or "auto", request.folder
    folder.jobs.mkdir(parents=True, exist_ok=True)
    job_id = f"bilin-{folder.name}-{secrets.token_hex(4)}"
    text, log = (folder.jobs.absolute() / f"{job_id}{suffix}" for suffix in (".json", ".log"))
    text.write_text(replace(request, cluster=replace(request.cluster, address="auto")).to_json())
    try:
        jobs.submit(address, _command(text, log), job_id=job_id, environment={RAY_JOB: f"{job_id}@{address}"})
    except ClusterError:
        text.unlink()
        raise
    while not _runs(folder, job_id):
        if jobs.state(address, job_id) in jobs.OVER:
            output = log.read_text(errors="replace") if log.exists() else ""
            raise ClusterError(f"Ray job {job_id} ended early: {output.strip()}\n{jobs.said(address, job_id)}".rstrip())
        time.sleep(_LOOK_S)
    return RayJob(sweep=folder.name, directory=folder.path, job_id=job_id, log=log)


def _command(request: Path, log: Path) -> str:
    """A launch for a shell on the head: with this Python if it is there, as in a shared environment."""
    python = shlex.quote(sys.executable)
    files = f"< {shlex.quote(str(request))} > {shlex.quote(str(log))} 2>&1"
    return f'PY={python}; [ -x "$PY" ] || PY=python; exec "$PY" -m bilin sweep launch - {files}'


def _runs(folder: SweepFolder, job_id: str) -> bool:
    found = holder(folder.store, folder.name)
    if found is None or not found.ray_job.startswith(f"{job_id}@"):
        return False
    snapshot = read_snapshot(folder)
    return snapshot is not None and snapshot.pid == found.pid
