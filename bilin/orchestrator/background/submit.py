"""Hand a sweep to Slurm: what `bilin sweep launch --cluster slurm` does, from Python too."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from bilin.orchestrator.background.words import options
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.clusters.slurm.job import JOBS, check_no_job, keep_job
from bilin.orchestrator.clusters.slurm.queue import check_sbatch
from bilin.orchestrator.clusters.slurm.queue import submit as submit_script
from bilin.orchestrator.clusters.slurm.script import JobSpec, batch_script
from bilin.orchestrator.clusters.slurm.size import check_size
from bilin.orchestrator.grid import ClusterSettings, Grid, read_grid, read_profile
from bilin.orchestrator.planning.plan import make_plan
from bilin.orchestrator.running.launch import Summary, check_retry, launch
from bilin.orchestrator.running.wanted import keep_grid
from bilin.results import DEFAULT_STORE, SweepWriter, stored, sweep_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A sweep that was handed to Slurm.

    Attributes:
        log: Where the job's output goes.
        num_missing: Trials that were to run when it was submitted.
        nodes: How many nodes it asks for, or the least and the greatest number.
    """

    sweep: str
    directory: Path
    job_id: str
    log: Path
    num_missing: int
    nodes: str


def submit(
    grid: Grid | Path | str,
    *,
    store: Path | str = DEFAULT_STORE,
    cluster: ClusterSpec | None = None,
    profile: Path | str | None = None,
    overrides: Collection[str] = (),
    only: Collection[str] = (),
    retry: Collection[str] = (),
) -> Submission | Summary:
    """Submit a job that runs every trial of a grid that has no result yet.

    Args:
        grid: A grid, or the path of a grid.yaml.
        store: Directory of the store, which all nodes see; created where it is missing.
        cluster: How the sweep runs in the job: how many workers, how often trials keep their state.
        profile: A file with settings for those that the grid's ``cluster`` does not have.
        overrides: Such as ``cluster.nodes=4``; for a path only.
        only: Such as ``tier=full,m=2``; for a path only.
        retry: Statuses of failed trials to run again, of `bilin.failures.RETRYABLE`.

    Returns:
        What was submitted; where nothing is missing, what a launch would say.

    Raises:
        InputError: The grid or another argument cannot be used; nothing was written.
        SweepRunningError: A job of this sweep waits or runs, or a process runs it.
        ClusterError: There is no sbatch here, or it refuses.
    """
    job = _job(grid, store, cluster or ClusterSpec(), profile, overrides, only, retry)
    check_sbatch()
    directory = sweep_directory(job.store, job.grid.name)
    check_no_job(directory)
    with SweepWriter(job.store, job.grid.name, command=" ".join(sys.argv)) as writer:
        current = make_plan(job.grid, stored(job.store, job.grid.name), retry=check_retry(retry))
        if current.num_missing:
            check_no_job(directory)  # again: another submission may have come between
            job_id, log = _submit(job, directory)
            keep_grid(writer, current, ended=False)
            keep_job(directory, job_id, str(log))
    if not current.num_missing:
        return launch(job.grid, store=job.store, retry=retry)
    return Submission(
        sweep=job.grid.name,
        directory=directory,
        job_id=job_id,
        log=log,
        num_missing=current.num_missing,
        nodes=job.settings.nodes,
    )


def script(
    grid: Grid | Path | str,
    *,
    store: Path | str = DEFAULT_STORE,
    cluster: ClusterSpec | None = None,
    profile: Path | str | None = None,
    overrides: Collection[str] = (),
    only: Collection[str] = (),
    retry: Collection[str] = (),
) -> str:
    """The batch script that `submit` would hand to sbatch; needs no Slurm and writes nothing. See `submit`."""
    return batch_script(_job(grid, store, cluster or ClusterSpec(), profile, overrides, only, retry))


def _job(
    grid: Grid | Path | str,
    store: Path | str,
    cluster: ClusterSpec,
    profile: Path | str | None,
    overrides: Collection[str],
    only: Collection[str],
    retry: Collection[str],
) -> JobSpec:
    check_retry(retry)
    if not isinstance(grid, Grid):
        grid = read_grid(Path(grid), overrides=tuple(overrides), only=tuple(only))
    below = read_profile(profile) if profile else {}
    grid = replace(grid, cluster={**below, **grid.cluster})  # the job reads it there: it has no profile
    settings = ClusterSettings(**grid.cluster)  # type: ignore[arg-type]
    check_size(settings, dict.fromkeys(cell.resources for cell in grid.cells))
    path = Path(os.path.abspath(store))  # noqa: PTH100 - links stay: what they lead to may differ on the nodes
    return JobSpec(grid=grid, store=path, settings=settings, arguments=options(cluster, only, retry))


def _submit(job: JobSpec, directory: Path) -> tuple[str, Path]:
    logs = directory / JOBS
    logs.mkdir(exist_ok=True)
    pattern = Path(str(logs).replace("%", "%%")) / "%j.log"
    job_id = submit_script(batch_script(job), pattern)
    return job_id, logs / f"{job_id}.log"
