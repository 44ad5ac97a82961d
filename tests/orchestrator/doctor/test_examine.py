"""Whole examinations of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bilin.orchestrator import ClusterSpec, LaunchRequest, launch
from bilin.orchestrator.doctor import Finding, examine
from tests.orchestrator.conftest import TINY
from tests.sweeps import bilin, finish, write_grid

INLINE = ClusterSpec(kind="inline")


def checks(findings: list[Finding], *levels: str) -> set[str]:
    return {finding.check for finding in findings if finding.level in levels}


def grid(folder: Path, more: str = "") -> Path:
    text = TINY.format(m="[2]", rate="{choices: [1e-2]}", seeds="[0]", lengths="[10]")
    return write_grid(folder, text + more)


@pytest.mark.slow
@pytest.mark.ray
def test_a_launch_on_this_machine_as_a_table_and_as_json(tmp_path: Path) -> None:
    store = tmp_path / "store"
    path = grid(tmp_path, "resources: {cpus: 1000}\n")
    code, out, err = finish(bilin("cluster", "doctor", path, "--store", store, "--json"))
    assert (code, err) == (4, "")
    said = json.loads(out)
    found = [Finding(**each) for each in said["findings"]]
    assert said["counts"]["error"] == 1
    assert checks(found, "error") == {"resources"}
    asked = {"room", "versions", "memory", "temp directory", "shared memory", "ports", "torch", "store", "clock"}
    assert asked <= {finding.check for finding in found if finding.where == os.uname().nodename}
    assert ("Ray", "cluster", "ok") in {(each.where, each.check, each.level) for each in found}
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["grid.yaml"], "nothing is changed"


def test_a_sweep_that_is_complete_on_a_store_that_is_left_as_it_was(tmp_path: Path) -> None:
    path, store = grid(tmp_path), tmp_path / "store"
    launch(path, store=store, cluster=INLINE)
    before = sorted(store.rglob("*"))
    findings = examine(LaunchRequest.read(path, store=store, cluster=INLINE))
    assert not checks(findings, "error")
    (time,) = (finding.found for finding in findings if finding.check == "time")
    assert time.startswith("nothing is missing")
    assert sorted(store.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root mounts")
def test_a_store_that_is_read_only_is_an_error_here(tmp_path: Path) -> None:
    mounts = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}"
    words = [sys.executable, "-m", "bilin", "cluster", "doctor", "--cluster", "inline", "--store", str(tmp_path)]
    command = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 4
    assert "(Read-only file system)\n" in ended.stdout
    assert "mount it for writing" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["no-such.yaml"], 2, "no-such.yaml"),
        (["--nodes", "2"], 2, "--nodes requires --cluster slurm"),
        (["--cluster", "slurm", "--nodes", "none"], 2, 'cluster.nodes: found "none"'),
        (["--cluster", "slum"], 2, "local, inline, ray, allocation, slurm"),
        (["--cluster", "inline", "--set", "seeds=[1]"], 2, "--set needs a grid.yaml"),
        (["--cluster", "inline", "--store", "file"], 2, "is a file"),
        (["--cluster", "slurm"], 4, "no sbatch, scancel, scontrol, srun here"),
        (["--address", "127.0.0.1"], 2, "accepted: HOST:PORT"),
        (["--address", "127.0.0.1:9"], 4, "no Ray answers at 127.0.0.1:9"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, arguments: list[str], exit_code: int, said: str) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "bilin", "cluster", "doctor", *arguments]
    environment = {**os.environ, "PATH": str(tmp_path)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == exit_code
    assert said in ended.stdout + ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
