"""Sweeps and their Slurm jobs, on a machine without Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bilin.orchestrator import plan
from bilin.orchestrator.clusters.slurm.job import record_submission
from bilin.orchestrator.sweep.recorder import write_grid as write_grid_of
from bilin.results import SweepWriter
from tests.orchestrator.grid.grids import HEAD
from tests.sweeps import write_grid

ONE_TRIAL = """
name: short
tasks: [{name: modular_addition, m: 2}]
models: [{tier: real_diagonal, hidden: 4, embedding: 4}]
train: {steps: 2}
validate: {every: 1, lengths: [20], num_sequences: 16}
test: {lengths: [10], num_sequences: 16}
learning_rate: {choices: [1e-2]}
"""


def without_slurm(folder: Path, *arguments: str, what: str = "launch") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bilin", "sweep", what, {"launch": "grid.yaml"}.get(what, "short")]
    environment = {**os.environ, "PATH": str(folder)}
    return subprocess.run(
        [*command, "--store", "store", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dry_run_prints_the_script_alone_and_writes_nothing(tmp_path: Path) -> None:
    write_grid(tmp_path, HEAD)
    ended = without_slurm(tmp_path, "--cluster", "slurm", "--dry-run", "--nodes", "2-3", "--set", "seeds=[5]")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("#!/bin/bash\n")
    assert ended.stdout.endswith("END_OF_REQUEST\n")
    assert "#SBATCH --nodes=2\n" in ended.stdout
    assert f'"store": "{tmp_path}/store"' in ended.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.yaml"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["--cluster", "slurm"], 4, "there is no sbatch on this machine"),
        (["--cluster", "slurm", "--nodes", "none"], 2, 'cluster.nodes: found "none"'),
        (["--cluster", "slurm", "--set", "seeds=[]"], 2, "seeds"),
        (["--cluster", "slurm", "--address", "10.0.0.1:6379"], 2, "drop one"),
        (["--cluster", "slurm", "--detach"], 2, "a Slurm job needs none: drop it"),
        (["--dry-run"], 2, "--dry-run prints a Slurm job, and needs --cluster slurm"),
        (["--cluster", "allocation"], 4, "this process is not in a job: --cluster slurm submits one"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, arguments: list[str], exit_code: int, said: str) -> None:
    write_grid(tmp_path, HEAD)
    ended = without_slurm(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout) == (exit_code, "")
    assert said in ended.stderr
    assert not (tmp_path / "store").exists()
    assert not list((tmp_path / "store").glob("*"))


def test_a_sweep_whose_job_cannot_be_asked_about_is_seen_from_the_store_alone(tmp_path: Path) -> None:
    with SweepWriter(tmp_path / "store", "short") as writer:
        write_grid_of(writer, plan(write_grid(tmp_path, HEAD)), has_ended=False)
        record_submission(writer.folder, "12", "/logs/12.log")
    said = without_slurm(tmp_path, what="status").stdout
    assert "job     job 12 submitted" in said
    assert "not running, some trials to run" in said
    watched = without_slurm(tmp_path, what="watch")
    assert (watched.returncode, watched.stderr) == (3, "")
    assert "it is not running" in watched.stdout
    cancelled = without_slurm(tmp_path, what="cancel")
    assert (cancelled.returncode, cancelled.stdout) == (4, "")
    assert "job 12 may wait, and Slurm cannot be asked from here: `scancel 12`" in cancelled.stderr


def test_the_request_in_a_script_runs_on_any_cluster(tmp_path: Path) -> None:
    """As in a job, but in this process: the request is what `launch -` reads."""
    write_grid(tmp_path, ONE_TRIAL)
    script = without_slurm(tmp_path, "--cluster", "slurm", "--dry-run").stdout
    request = script.split("<< 'END_OF_REQUEST'\n")[1].removesuffix("END_OF_REQUEST\n")
    command = [sys.executable, "-m", "bilin", "sweep", "launch", "-"]
    inline = request.replace('"kind": "allocation"', '"kind": "inline"')
    ended = subprocess.run(command, input=inline, cwd="/", capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "1 run (1 done)" in ended.stdout
    assert plan(tmp_path / "grid.yaml", store=tmp_path / "store").num_to_run == 0
