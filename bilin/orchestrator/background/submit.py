"""Submit a sweep to Slurm: what `bilin sweep launch --cluster slurm` does, from Python too."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from bilin.machine.slurm import SLURM
from bilin.orchestrator.clusters.capacity import check_job_size
from bilin.orchestrator.clusters.slurm.job import check_no_job, record_submission
from bilin.orchestrator.clusters.slurm.script import batch_script
from bilin.orchestrator.request import GridSource, LaunchRequest, RequestOptions
from bilin.orchestrator.sweep.launch import Summary, as_request, launch
from bilin.orchestrator.sweep.recorder import write_grid
from bilin.results import SweepWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A sweep that was submitted to Slurm.

    Attributes:
        log: Where the job's output goes.
        num_to_run: Trials to run at the time of the submission.
        nodes: How many nodes it asks for, such as ``4`` or ``1-8``.
    """

    sweep: str
    directory: Path
    job_id: str
    log: Path
    num_to_run: int
    nodes: str


def submit(request: LaunchRequest | GridSource, **options: Unpack[RequestOptions]) -> Submission | Summary:
    """Submit a job that runs every trial of a grid that has no result yet.

    Args:
        request: A request, or a grid or the path of a grid.yaml to make one of. All nodes must see its store.
        options: With a grid or a path: see `LaunchRequest.read`.

    Returns:
        What was submitted; if nothing is missing, what a launch would return.

    Raises:
        InputError: The grid or another argument cannot be used; nothing was written.
        SweepRunningError: A job of this sweep waits or runs, or a process runs it.
        ClusterError: There is no sbatch on this machine, or it refuses the job.
    """
    request = as_request(request, options)
    text = script(request)
    SLURM.check_sbatch()
    folder = request.folder
    check_no_job(folder)
    with SweepWriter(request.store, request.grid.name, command=" ".join(sys.argv)) as writer:
        current = request.plan()
        if current.num_to_run:
            check_no_job(folder)  # another submission may have come in between
            folder.jobs.mkdir(exist_ok=True)
            job_id = SLURM.submit(text, log=folder.slurm_log_pattern)
            log = folder.job_log(job_id).absolute()
            write_grid(writer, current, has_ended=False)
            record_submission(folder, job_id, str(log))
    if not current.num_to_run:
        return launch(replace(request, cluster=replace(request.cluster, kind="local", address=None)))
    return Submission(
        sweep=request.grid.name,
        directory=folder.path,
        job_id=job_id,
        log=log,
        num_to_run=current.num_to_run,
        nodes=request.job.nodes,
    )


def script(request: LaunchRequest | GridSource, **options: Unpack[RequestOptions]) -> str:
    """Return the batch script that `submit` gives to sbatch. Needs no Slurm and writes nothing.

    Raises:
        InputError: The grid or another argument cannot be used, or a trial asks for more than a node has.
    """
    request = as_request(request, options)
    check_job_size(request.job, dict.fromkeys(cell.resources for cell in request.grid.cells))
    in_job = replace(request, cluster=replace(request.cluster, kind="allocation", address=None))
    return batch_script(request.grid.name, request.job, in_job.to_json())
