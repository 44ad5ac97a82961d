"""The batch script of a sweep: what it asks Slurm for, the set-up, and the sweep process in place of the shell.

The grid stands in the script as it was launched, every default written out, so that neither a later edit of
the file nor a newer bilin changes a job that waits; and the script runs wherever it is submitted from.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bilin.orchestrator.grid import ClusterSettings, Grid, resolved

END = "END_OF_GRID"  # no line of JSON can be this


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What a job runs, and on what.

    Attributes:
        store: An absolute path.
        arguments: More of the launch's own arguments, such as ``--retry oom``.
    """

    grid: Grid
    store: Path
    settings: ClusterSettings
    arguments: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The job's name in Slurm."""
        return f"bilin-{self.grid.name}"


def batch_script(job: JobSpec) -> str:
    """The script, to be given to sbatch."""
    python = job.settings.python or sys.executable
    launch = ["-m", "bilin", "sweep", "launch", "-", "--store", str(job.store), "--cluster", "allocation"]
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={job.name}",
        *(f"#SBATCH {option}" for option in options(job.settings, nodes=job.settings.min_nodes, signal=True)),
        "",
        f"# Runs what is missing of the sweep {job.grid.name}: safe to submit again, it goes on where it was.",
        "trap '' USR1  # the warning before the time limit; the sweep takes it when it is up",
        *job.settings.setup,
        "# exec: what Slurm signals is the sweep itself, which holds all that is started by a pipe.",
        f"exec {shlex.join([python, '-P', *launch, *job.arguments])} << '{END}'",
        resolved(job.grid).rstrip("\n"),
        END,
    ]
    return "".join(f"{line}\n" for line in lines)


def options(settings: ClusterSettings, *, nodes: int, signal: bool = False) -> Iterator[str]:
    """What a job asks sbatch for; with a ``signal``, to be warned before its end too."""
    yield f"--nodes={nodes}"
    yield "--ntasks-per-node=1"
    yield from place(settings)
    yield "--requeue" if settings.requeue else "--no-requeue"
    if signal and settings.warning_s:
        yield f"--signal=B:USR1@{settings.warning_s}"
    yield "--no-kill"
    yield "--open-mode=append"
    yield from extra(settings)


def place(settings: ClusterSettings) -> Iterator[str]:
    """Where a job runs, for how long, and what it has on each node: options that srun takes as well."""
    named = {
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "cpus-per-task": settings.cpus,
        "gres": None if settings.gpus.rpartition(":")[2].strip("0") == "" else f"gpu:{settings.gpus}",
        "mem": settings.memory,
        "time": settings.time,
        "constraint": settings.constraint,
    }
    yield from (f"--{name}={value}" for name, value in named.items() if value is not None)


def extra(settings: ClusterSettings) -> Iterator[str]:
    """The settings' own options of sbatch."""
    yield from (line.removeprefix("#SBATCH").strip() for line in settings.extra)
