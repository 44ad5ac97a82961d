"""The lab itself: two at once, each with nodes and GPUs of its own, and nothing left of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.slurm.lab import Lab

pytestmark = pytest.mark.slurm

LOOK = "echo $(hostname) $CUDA_VISIBLE_DEVICES $(ls /tmp)"


def test_two_labs_at_once_and_nothing_left() -> None:
    with Lab() as one, Lab(num_nodes=1, gpus=1) as other:
        folders = [one.folder, other.folder]
        seen = sorted(one.run("srun", "-N2", "--gres=gpu:2", "bash", "-c", LOOK).splitlines())
        assert seen == [f"{name} 0,1 {one.folder.name}" for name in ("node1", "node2")]
        assert other.run("srun", "--gres=gpu:1", "bash", "-c", LOOK).strip() == f"node1 0 {other.folder.name}"
        assert one.run("squeue", "-h", "-t", "all").split()[0] == "1"
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    assert not any(name in links for name in (one.bridge, other.bridge))
    assert not any(folder.exists() for folder in folders)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(str(folder).encode() in line for folder in folders for line in lines)
