"""`bilin cluster doctor` on a real Slurm: its words about a job, and what its nodes say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bilin.orchestrator.doctor import Finding
from tests.slurm.conftest import bilin
from tests.slurm.lab import Lab
from tests.slurm.test_job import GRID
from tests.sweeps import wait_until, write_grid

pytestmark = pytest.mark.slurm


def found(lab: Lab, *arguments: object) -> tuple[int, list[Finding]]:
    """Exit code and findings on the login node."""
    code, out, err = bilin(lab, "cluster", "doctor", *arguments, "--cluster", "slurm", "--json")
    assert out, err
    return code, [Finding(**each) for each in json.loads(out)["findings"]]


def said(findings: list[Finding], level: str) -> dict[tuple[str, str], str]:
    return {(each.where, each.check): each.found for each in findings if each.level == level}


@pytest.mark.timeout(600)
def test_both_nodes_are_looked_at_by_one_short_step(lab: Lab, tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path, GRID), tmp_path / "store"
    store.mkdir()
    extra = "cluster.extra=[--time-min 1]"
    code, findings = found(lab, grid, "--store", store, "--wait", "200", "--set", extra)
    assert code == 0, findings
    good = said(findings, "ok")
    assert good["Slurm", "nodes"] == "2 nodes asked"
    assert good["Slurm", "job"].startswith("would be accepted")
    assert "22.05" in good["Slurm", "commands"]
    for name in lab.names:
        assert good[name, "room"] == "1 CPUs, 1 GPUs: one trial at once"
        assert good[name, "store"].startswith("readable and writable from here and there")
        assert good[name, "other nodes"] == "1 reached, at a port that was free there"
        assert {(name, check) for check in ("versions", "memory", "ports", "shared memory", "clock")} <= set(good)
        assert "sees 0 of 1 GPUs" in said(findings, "warning")[name, "torch"], "the lab's GPUs are none"
    assert "not known" in good["sweep", "time"]
    assert wait_until(lambda: lab.run("squeue", "-h") == "", 60)
    assert list(store.iterdir()) == []


@pytest.mark.timeout(600)
def test_nodes_that_do_not_reach_each_other(lab: Lab, tmp_path: Path) -> None:
    with lab.wall("node1", "node2"):
        code, findings = found(lab, "--nodes", "2", "--store", tmp_path, "--wait", "200")
    assert code == 4
    errors = said(findings, "error")
    assert set(errors) == {(name, "other nodes") for name in lab.names}
    assert errors["node1", "other nodes"].startswith("no connection to node2 (")
    assert errors["node1", "other nodes"].endswith("): No route to host")
    assert errors["node2", "other nodes"].endswith("): no answer within 5 s")


@pytest.mark.timeout(600)
def test_what_slurm_would_refuse_or_never_begin(lab: Lab, tmp_path: Path) -> None:
    grid = write_grid(tmp_path, GRID)
    asked = [grid, "--store", tmp_path / "store"]
    code, findings = found(lab, *asked, "--set", "cluster.memory=64G")
    assert code == 4
    assert "Requested node configuration is not available" in said(findings, "error")["Slurm", "job"]
    assert not any(each.where in lab.names for each in findings)
    code, findings = found(lab, *asked, "--set", "cluster.partition=nowhere")
    assert "there is no nowhere" in said(findings, "error")["Slurm", "partition"]
    lab.run("scontrol", "update", "PartitionName=main", "MaxTime=5")
    try:
        code, findings = found(lab, *asked)
    finally:
        lab.run("scontrol", "update", "PartitionName=main", "MaxTime=INFINITE")
    assert "the job requests 10, but main allows at most 00:05:00" in said(findings, "error")["Slurm", "partition"]


@pytest.mark.timeout(600)
def test_a_queue_without_a_place_is_a_warning_and_a_python_that_is_not_there_an_error(lab: Lab, tmp_path: Path) -> None:
    asked = [write_grid(tmp_path, GRID), "--store", tmp_path]
    profile = tmp_path / "profile.yaml"
    profile.write_text("{python: /nowhere/python, account: mine}\n")
    code, findings = found(lab, *asked, "--profile", profile, "--wait", "100")
    assert code == 4
    assert "/nowhere/python" in said(findings, "error")["Slurm", "nodes"]
    assert "checks neither" in said(findings, "warning")["Slurm", "account"]
    for name in lab.names:
        lab.run("scontrol", "update", f"NodeName={name}", "State=DRAIN", "Reason=test")
    try:
        code, findings = found(lab, *asked, "--wait", "2")
    finally:
        for name in lab.names:
            lab.run("scontrol", "update", f"NodeName={name}", "State=RESUME")
    assert code == 0, findings
    assert said(findings, "warning")["Slurm", "job"].startswith("0 of 2 nodes are up")
    assert said(findings, "ok")["sweep", "resources"]
    assert "Slurm granted no nodes within 2 s" in said(findings, "warning")["Slurm", "nodes"]
    assert wait_until(lambda: lab.run("squeue", "-h") == "", 60)


@pytest.mark.timeout(600)
def test_in_a_job_its_own_nodes_are_asked(lab: Lab, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bilin", "cluster", "doctor", "--cluster", "slurm", "--store", tmp_path]
    out = lab.run("srun", "-N1", "--cpus-per-task=1", "--time=5", *command)
    assert "this is in job" in out
    assert "1 node asked" in out
    assert "a job has" not in out, "there is no grid"
