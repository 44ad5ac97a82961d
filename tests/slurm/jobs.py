"""Sweeps that are disturbed while they run as jobs, and what is looked at then."""

from __future__ import annotations

import re
from pathlib import Path

from bilin.folder import SweepFolder
from bilin.orchestrator import ClusterSpec, launch, status
from bilin.orchestrator.sweep.snapshot import read_snapshot
from tests.slurm.conftest import bilin
from tests.slurm.lab import Lab
from tests.sweeps import contents, wait_until, write_grid

GRID = """
name: tiny
tasks: [{name: modular_addition, m: [2, 3]}]
models: [{tier: lstm, hidden: 16, embedding: 16}]
train: {steps: 1500, stop_when_solved: false}
validate: {every: 500, lengths: []}
test: {lengths: [10], num_sequences: 64}
learning_rate: {choices: [1e-2]}
cluster: {nodes: 1, cpus: 1, memory: 1500, time: 10}
"""
START_S = 400
"""How long a job may take to its first checkpoint, on a machine that is ten times slower than it should be."""


def submitted(lab: Lab, *arguments: object) -> str:
    """The id of the job of a launch."""
    code, out, err = bilin(lab, "sweep", "launch", *arguments, "--cluster", "slurm")
    assert code == 0, err
    found = re.search(r"job (\d+) submitted", out)
    assert found
    return found.group(1)


def begun(store: Path, name: str = "tiny") -> list[Path]:
    """The checkpoints of a sweep, once there is one."""
    kept = store / name / "checkpoints"
    assert wait_until(lambda: any(kept.glob("*[0-9a-f]")), START_S), logs(store, name)
    return sorted(kept.glob("*[0-9a-f]"))


def trains(store: Path, name: str = "tiny") -> None:
    """Return when a trial of a sweep has taken steps."""

    def looks() -> bool:
        snapshot = read_snapshot(SweepFolder(store / name))
        return snapshot is not None and any(trial.step for trial in snapshot.running)

    assert wait_until(looks, START_S), logs(store, name)


def logs(store: Path, name: str = "tiny") -> str:
    """What all jobs of a sweep have said."""
    return "\n".join(path.read_text() for path in sorted((store / name / "jobs").glob("*.log")))


def is_complete(store: Path, name: str = "tiny") -> bool:
    """Whether nothing is left to run."""
    return status(name, store=store).plan.num_to_run == 0


def inline(folder: Path, text: str = GRID) -> dict[str, list[str]]:
    """The rows of the same grid, run in one process and not disturbed."""
    launch(write_grid(folder, text), store=folder / "inline", cluster=ClusterSpec(kind="inline"))
    return contents(folder / "inline")


def left(lab: Lab) -> list[str]:
    """What is left on the nodes: command lines and files."""
    return [what for name in lab.names for what in (*lab.processes(name).values(), *lab.files(name))]
