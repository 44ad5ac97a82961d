"""`bilin sweep launch --cluster slurm` on a machine without Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.orchestrator.grid.grids import HEAD
from tests.sweeps import write_grid


def without_slurm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bilin", "sweep", "launch", "grid.yaml", "--store", "store", *arguments]
    environment = {**os.environ, "PATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_dry_run_prints_the_script_alone_and_writes_nothing(tmp_path: Path) -> None:
    write_grid(tmp_path, HEAD)
    ended = without_slurm(tmp_path, "--cluster", "slurm", "--dry-run", "--nodes", "2-3", "--set", "seeds=[5]")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("#!/bin/bash\n")
    assert ended.stdout.endswith("END_OF_GRID\n")
    assert "#SBATCH --nodes=2\n" in ended.stdout
    assert f"--store {tmp_path}/store " in ended.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.yaml"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["--cluster", "slurm"], 4, "there is no sbatch on this machine"),
        (["--cluster", "slurm", "--nodes", "none"], 2, 'cluster.nodes: found "none"'),
        (["--cluster", "slurm", "--set", "seeds=[]"], 2, "seeds"),
        (["--cluster", "slurm", "--address", "10.0.0.1:6379"], 2, "drop one"),
        (["--dry-run"], 2, "--dry-run is about a job, and goes with --cluster slurm"),
        (["--cluster", "allocation"], 4, "this is none: --cluster slurm submits one"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, arguments: list[str], exit_code: int, said: str) -> None:
    write_grid(tmp_path, HEAD)
    ended = without_slurm(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout) == (exit_code, "")
    assert said in ended.stderr
    assert (tmp_path / "store").exists() == (arguments == ["--cluster", "allocation"])
