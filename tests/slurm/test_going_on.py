"""Sweeps that outlive their jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bilin.folder import SweepFolder
from bilin.orchestrator.clusters.slurm.job import recorded_job
from tests.slurm.conftest import bilin
from tests.slurm.jobs import GRID, START_S, begun, inline, is_complete, left, logs, submitted
from tests.slurm.lab import Lab
from tests.sweeps import contents, wait_until, write_grid

SHORT = GRID.replace("steps: 1500", "steps: 1000")
FOUR = (
    GRID.replace("nodes: 1", "nodes: 1-2").replace("memory: 1500", "memory: 2500").replace("steps: 1500", "steps: 6000")
    + "seeds: [0, 1]\nresources: {pack: 1}\n"
)
"""Four trials, each alone and longer than a node takes to come; a node has no room for two of these jobs."""

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.mark.timeout(2000)
def test_a_job_that_is_warned_goes_on_in_the_queue_or_in_a_successor(lab: Lab, tmp_path: Path) -> None:
    grid, again, anew = write_grid(tmp_path, SHORT), tmp_path / "again", tmp_path / "anew"
    often = ["--checkpoint-every", "1"]
    jobs = {
        again: submitted(lab, grid, "--store", again, *often),
        anew: submitted(lab, grid, "--store", anew, *often, "--set", "cluster.requeue=false"),
    }
    for store, job in jobs.items():
        begun(store)
        lab.run("scancel", "--batch", "--signal=USR1", job)  # as Slurm does before the time limit
    for store in jobs:
        assert wait_until(lambda store=store: is_complete(store), START_S * 2), logs(store)
        assert "another one continues it" in logs(store)
    assert lab.job(jobs[again])["Restarts"] == "1"
    assert f"job {jobs[again]} " in bilin(lab, "sweep", "status", "tiny", "--store", again)[1]
    successor = recorded_job(SweepFolder(anew / "tiny"))
    assert successor
    assert successor.job_id != jobs[anew]
    assert lab.wait_for_end(jobs[anew]) == "FAILED"
    for job in (jobs[again], successor.job_id):
        assert lab.wait_for_end(job, START_S) == "COMPLETED"
    assert contents(again) == contents(anew) == inline(tmp_path, SHORT)


@pytest.mark.timeout(2000)
def test_a_sweep_takes_nodes_that_come_later_and_lets_them_go(lab: Lab, tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path, FOUR), tmp_path / "store"
    lab.run("scontrol", "update", "NodeName=node2", "State=DRAIN", "Reason=test")
    job = submitted(lab, grid, "--store", store, "--checkpoint-every", "1")
    assert wait_until(lambda: "bilin-tiny-more PENDING" in lab.run("squeue", "-h", "-o", "%j %T"), START_S), logs(store)
    more = str(int(job) + 1)
    assert lab.job(job)["NodeList"] == "node1"
    lab.run("scontrol", "update", "NodeName=node2", "State=RESUME")
    assert wait_until(lambda: len(begun(store)) == 2, START_S), "a trial runs on it: " + logs(store)
    lab.run("scancel", more)
    assert wait_until(lambda: is_complete(store), START_S * 2), logs(store)
    assert lab.wait_for_end(job) == "COMPLETED"
    assert "worker lost" in logs(store)
    assert contents(store) == inline(tmp_path, FOUR)
    assert wait_until(lambda: not left(lab), 60), left(lab)
    assert wait_until(lambda: lab.run("squeue", "-h") == "", 60)
