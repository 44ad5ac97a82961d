"""Batch scripts: one of a sweep, whose process takes the place of the shell, and one of a further node.

The script of a sweep holds the whole request, with every default of the grid written out. So neither a later edit of
the grid file nor a newer bilin changes a job that waits, and the script runs wherever it is submitted from.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator

from bilin.machine.ray_node import NodeCommand
from bilin.machine.slurm import WARNING_SIGNAL
from bilin.orchestrator.grid import ClusterSettings

END = "END_OF_REQUEST"  # no line of JSON can be this

_WARNING = WARNING_SIGNAL.name.removeprefix("SIG")


def batch_script(name: str, job: ClusterSettings, request: str) -> str:
    """Return the script for sbatch that launches a sweep; the request is JSON text."""
    python = job.python or sys.executable
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name=bilin-{name}",
        *(f"#SBATCH {option}" for option in sbatch_options(job, nodes=job.min_nodes, signal=True)),
        "",
        f"# Runs the missing trials of sweep {name}. Safe to submit again: it continues from what is stored.",
        f"trap '' {_WARNING}  # the warning before the time limit; the sweep handles it once it has started",
        *job.setup,
        "# exec: Slurm signals the sweep process itself, and all that it started ends with it.",
        f"exec {shlex.join([python, '-P', '-m', 'bilin', 'sweep', 'launch', '-'])} << '{END}'",
        request.rstrip("\n"),
        END,
    ]
    return "".join(f"{line}\n" for line in lines)


def further_node_script(settings: ClusterSettings, command: NodeCommand) -> str:
    """Return the script of a job that adds one node."""
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in sbatch_options(settings, nodes=1)),
        "",
        *settings.setup,
        f"exec {shlex.join(command.argv(settings.python or sys.executable))}",
    ]
    return "".join(f"{line}\n" for line in lines)


def sbatch_options(settings: ClusterSettings, *, nodes: int, signal: bool = False) -> Iterator[str]:
    """Yield the options of sbatch for a job; with ``signal``, also that of the warning before its end."""
    yield f"--nodes={nodes}"
    yield "--ntasks-per-node=1"
    yield from shared_options(settings)
    yield "--requeue" if settings.requeue else "--no-requeue"
    if signal and settings.warning_s:
        yield f"--signal=B:{_WARNING}@{settings.warning_s}"
    yield "--no-kill"
    yield "--open-mode=append"
    yield from extra_options(settings)


def shared_options(settings: ClusterSettings) -> Iterator[str]:
    """Yield the options that sbatch and srun share: where to run, for how long, and what to have on each node."""
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


def extra_options(settings: ClusterSettings) -> Iterator[str]:
    """Yield the options of sbatch that the settings name as they are."""
    yield from (line.removeprefix("#SBATCH").strip() for line in settings.extra)
