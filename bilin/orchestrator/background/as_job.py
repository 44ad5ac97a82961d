"""A launch as a job of a Ray that is up."""

from __future__ import annotations

import secrets
import shlex
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from bilin.errors import ClusterError
from bilin.orchestrator.background.words import options
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.clusters.slurm.job import JOBS
from bilin.orchestrator.grid import Grid, resolved
from bilin.orchestrator.running.activity import read_activity
from bilin.results import DEFAULT_STORE, RAY_JOB, holder, sweep_directory

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


def submit_job(
    grid: Grid,
    *,
    cluster: ClusterSpec,
    store: Path | str = DEFAULT_STORE,
    only: Collection[str] = (),
    retry: Collection[str] = (),
) -> RayJob:
    """Submit a launch as a Ray job; returns when the sweep runs.

    Args:
        grid: What to launch.
        cluster: Where: its address, how many workers, how often trials keep their state.
        store: Directory of the store, which all nodes see at the same absolute path.
        only: As for `bilin.launch`.
        retry: As for `bilin.launch`.

    Raises:
        ClusterError: The job cannot be submitted, or ended before the sweep ran; the message has its output.
    """
    from bilin.orchestrator.clusters import jobs

    address, store = cluster.address or "auto", Path(store).absolute()
    folder = sweep_directory(store, grid.name) / JOBS
    folder.mkdir(parents=True, exist_ok=True)
    job_id = f"bilin-{grid.name}-{secrets.token_hex(4)}"
    kept, log = folder / f"{job_id}.json", folder / f"{job_id}.log"
    kept.write_text(resolved(grid))
    words = ["-", "--store", str(store), "--address", "auto", *options(cluster, only, retry)]
    command = f"{_shell(words)} < {shlex.quote(str(kept))} > {shlex.quote(str(log))} 2>&1"
    try:
        jobs.submit(address, command, job_id=job_id, environment={RAY_JOB: f"{job_id}@{address}"})
    except ClusterError:
        kept.unlink()
        raise
    while not _runs(store, grid.name, job_id):
        if jobs.state(address, job_id) in jobs.OVER:
            output = log.read_text(errors="replace") if log.exists() else ""
            raise ClusterError(f"Ray job {job_id} ended early: {output.strip()}\n{jobs.said(address, job_id)}".rstrip())
        time.sleep(_LOOK_S)
    return RayJob(sweep=grid.name, directory=folder.parent, job_id=job_id, log=log)


def _shell(words: Sequence[str]) -> str:
    """A launch for a shell on the head: by this Python if it is there, which a shared environment's is."""
    here, rest = shlex.quote(sys.executable), shlex.join(["-m", "bilin", "sweep", "launch", *words])
    return f'PY={here}; [ -x "$PY" ] || PY=python; exec "$PY" {rest}'


def _runs(store: Path, sweep: str, job_id: str) -> bool:
    found = holder(store, sweep)
    if found is None or not found.ray_job.startswith(f"{job_id}@"):
        return False
    activity = read_activity(sweep_directory(store, sweep))
    return activity is not None and activity.pid == found.pid
