"""More nodes for a sweep that runs: jobs of one node each, which join its Ray when Slurm has a node for them.

They are elements of one job array, begin and end by themselves, and go with the sweep: it cancels them at its end,
and where it was killed they end when its Ray no longer answers.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bilin.errors import ClusterError
from bilin.orchestrator.clusters.slurm import node
from bilin.orchestrator.clusters.slurm.queue import ask, submit
from bilin.orchestrator.clusters.slurm.script import options
from bilin.orchestrator.grid import ClusterSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What runs on each node; see `node.main`."""

    head: str
    client_port: int
    folder: str

    def command(self, python: str) -> list[str]:
        """The command line."""
        return [python, "-P", node.__file__, self.head, str(self.client_port), self.folder]


@contextmanager
def more_nodes(settings: ClusterSettings, task: Task) -> Iterator[None]:
    """Ask for the nodes that the sweep could use beyond those that it began with.

    Where Slurm takes no jobs from within a job this is said, and the sweep has those that it has.
    """
    count = settings.max_nodes - int(os.environ["SLURM_JOB_NUM_NODES"])
    job_id = _submit(settings, task, count) if count > 0 else ""
    try:
        yield
    finally:
        if job_id:
            subprocess.run(["scancel", job_id], check=False)


def more_script(settings: ClusterSettings, task: Task) -> str:
    """The script of a job that brings one node."""
    python = settings.python or sys.executable
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in options(settings, nodes=1)),
        "",
        *settings.setup,
        f"exec {shlex.join(task.command(python))}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _submit(settings: ClusterSettings, task: Task, count: int) -> str:
    own = ask(os.environ["SLURM_JOB_ID"])
    name = f"{os.environ.get('SLURM_JOB_NAME', 'bilin')}-more"
    log = own.log.replace("%", "%%") if own and own.log else "/dev/null"
    try:
        job_id = submit(more_script(settings, task), log, f"--job-name={name}", f"--array=1-{count}", "--export=ALL")
    except ClusterError as error:
        print(f"no more nodes are to be had: {error}", file=sys.stderr)
        return ""
    print(f"{count} more nodes are asked for: job {job_id}", file=sys.stderr)
    return job_id
