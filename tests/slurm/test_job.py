"""Sweeps as jobs of a real Slurm, launched as a user does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bilin.folder import SweepFolder
from bilin.orchestrator import ClusterSpec, launch
from bilin.orchestrator.clusters.slurm.job import Job, record_job
from tests.slurm.conftest import bilin
from tests.slurm.jobs import left, logs, submitted, trains
from tests.slurm.lab import Lab
from tests.sweeps import contents, wait_until, write_grid

GRID = """
name: tiny
tasks: [{name: modular_addition, m: [2, 3]}]
models: [{tier: real_diagonal, hidden: 4, embedding: 4}]
train: {steps: 20}
validate: {every: 10, lengths: [20], num_sequences: 16}
test: {lengths: [10, 50], num_sequences: 16}
learning_rate: {choices: [3e-2, 1e-2]}
cluster: {nodes: 2, cpus: 1, gpus: 1, memory: 1500, time: 10}
"""
pytestmark = pytest.mark.slurm

ONE_NODE = ["--cluster", "slurm", "--nodes", "1"]
HELD = "cluster.extra=[--hold]"
ENDLESS = GRID.replace("steps: 20", "steps: 100000000, stop_when_solved: false").replace("tiny", "endless")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_jobs_at_once_find_what_one_process_finds_and_leave_nothing(lab: Lab, tmp_path: Path) -> None:
    grid, store, other = write_grid(tmp_path, GRID), tmp_path / "store", tmp_path / "by 'hand'"
    job = submitted(lab, grid, "--store", store, "--set", HELD)
    script = tmp_path / "job.sh"
    script.write_text(bilin(lab, "sweep", "launch", grid, "--store", other, *ONE_NODE, "--dry-run")[1])
    assert not other.exists()
    by_hand = lab.run("sbatch", "--parsable", f"--output={tmp_path}/by_hand.log", script).strip()
    grid.write_text("edited meanwhile, and not what was launched")
    lab.run("scontrol", "release", job)
    lab.wait_for(job, "RUNNING")
    assert f"job {job} runs on node[1-2] since" in bilin(lab, "sweep", "list", "--store", store)[1]

    logs = {job: store / "tiny" / "jobs" / f"{job}.log", by_hand: tmp_path / "by_hand.log"}
    for job_id, log in logs.items():
        assert lab.wait_for_end(job_id, 400) == "COMPLETED", log.read_text()
        assert "4 run (4 done)" in log.read_text()
    assert "Ray is up on 2 of 2 nodes (node1 node2): 2 CPUs, 2 GPUs" in logs[job].read_text()
    assert "Ray is up on 1 of 1 node " in logs[by_hand].read_text()
    for name, job_id in ((store, job), (other, by_hand)):
        said = bilin(lab, "sweep", "status", "tiny", "--store", name)[1]
        assert "complete" in said
        assert f"job {job_id} has ended" in said
    grid.write_text(GRID)
    launch(grid, store=tmp_path / "inline", cluster=ClusterSpec(kind="inline"))
    assert contents(store) == contents(other) == contents(tmp_path / "inline")
    assert wait_until(lambda: not left(lab), 60), left(lab)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_is_watched_from_the_queue_to_its_end_and_cancelled_from_outside_and_within(
    lab: Lab, tmp_path: Path
) -> None:
    grid, stores = write_grid(tmp_path, ENDLESS), {"node1": tmp_path / "outside", "node2": tmp_path / "within"}
    jobs = {}
    for node, store in stores.items():
        place = f"cluster.extra=[--nodelist={node}]"
        jobs[node] = submitted(lab, grid, "--store", store, "--nodes", "1", "--set", place)
    with watched(lab, stores["node1"]) as watching:
        trains(stores["node1"], "endless")
        hides_its_token(lab, "node1", jobs["node1"], stores["node1"])
        code, out, err = bilin(lab, "sweep", "cancel", "endless", "--store", stores["node1"])
        assert (code, f"job {jobs['node1']} has ended; the same" in out) == (0, True), out + err
        out, _ = watching.communicate(timeout=200)
        assert (watching.returncode, "ended before it was complete" in out) == (3, True)

    trains(stores["node2"], "endless")
    command = [sys.executable, "-m", "bilin", "sweep", "cancel", "endless", "--store", str(stores["node2"])]
    step = ["srun", "--overlap", f"--jobid={jobs['node2']}"]  # of the job itself, which ends with it
    within = subprocess.run([*step, *command], env=lab.environment, capture_output=True, text=True, check=False)
    assert f"job {jobs['node2']} has ended; the same" in within.stdout, within.stderr
    for node, store in stores.items():
        assert lab.wait_for_end(jobs[node]) == "FAILED"
        assert list((store / "endless" / "checkpoints").glob("*[0-9a-f]")), "kept as it ended: " + logs(store)
        assert lab.job(jobs[node])["Restarts"] == "0"
        assert "it was cancelled" in bilin(lab, "sweep", "status", "endless", "--store", store)[1]
    assert wait_until(lambda: not left(lab), 60), left(lab)
    assert wait_until(lambda: lab.run("squeue", "-h") == "", 60), "no job follows"


def hides_its_token(lab: Lab, node: str, job: str, store: Path) -> None:
    """The token of a job's Ray is in the environment of its processes alone, and its folder open to its owner."""
    there = lab.processes(node)
    (token,) = {token for process in there for token in tokens(process)}
    assert not any(token in line for line in there.values())
    assert token not in lab.run("scontrol", "show", "job", job) + logs(store, "endless")
    (folder,) = lab.files(node)
    assert (lab.folder / "nodes" / node / folder).stat().st_mode & 0o777 == 0o700


def test_a_sweep_that_waits_is_watched_and_cancelled(lab: Lab, tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path, GRID), tmp_path / "store"
    job = submitted(lab, grid, "--store", store, "--set", HELD)
    waits = f"job {job} waits (JobHeldUser)"
    assert waits in bilin(lab, "sweep", "status", "tiny", "--store", store)[1]
    code, _, err = bilin(lab, "sweep", "launch", grid, "--store", store, "--cluster", "slurm")
    assert (code, f"job {job}, which waits" in err) == (2, True)
    with watched(lab, store, "tiny") as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline() == f"tiny: {waits}\n"
        code, out, _ = bilin(lab, "sweep", "cancel", "tiny", "--store", store)
        assert (code, out) == (0, f"tiny: job {job} is cancelled; the same launch continues from here\n")
        out, _ = watching.communicate(timeout=100)
        assert (watching.returncode, "it is not running" in out) == (3, True)
    assert lab.job(job)["JobState"] == "CANCELLED"
    out = bilin(lab, "sweep", "status", "tiny", "--store", store)[1]
    assert f"job {job} is over (cancelled" in out
    assert bilin(lab, "sweep", "cancel", "tiny", "--store", store)[1].startswith("tiny: it is not running")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_that_does_not_see_the_store_is_named(lab: Lab, tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path, GRID), tmp_path / "store"
    store.mkdir()
    lab.hide("node2", store)
    job = submitted(lab, grid, "--store", store)
    assert lab.wait_for_end(job, 400) == "FAILED"
    assert lab.job(job)["ExitCode"] == "4:0"
    assert f"node node2: cannot use the store, {store}/tiny: No such file" in logs(store)


@contextmanager
def watched(lab: Lab, store: Path, name: str = "endless") -> Iterator[subprocess.Popen[str]]:
    """`bilin sweep watch`, on the login node."""
    command = [sys.executable, "-m", "bilin", "sweep", "watch", name, "--store", str(store)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=lab.environment, stdout=pipe, stderr=pipe, text=True) as watching:
        try:
            yield watching
        finally:
            watching.kill()


def test_a_job_of_another_cluster_with_the_same_number_is_left_alone(lab: Lab, tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path, GRID), tmp_path / "store"
    other = lab.run("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true").strip()
    launch(grid, store=store, cluster=ClusterSpec(kind="inline"))
    record_job(SweepFolder(store / "tiny"), Job(job_id=other, submitted_at="2026-01-01", log="", name="bilin-tiny"))
    assert "Slurm no longer knows it" in bilin(lab, "sweep", "status", "tiny", "--store", store)[1]
    assert "it is not running" in bilin(lab, "sweep", "cancel", "tiny", "--store", store)[1]
    assert lab.job(other)["JobState"] == "PENDING"
    lab.run("scancel", other)


def test_what_slurm_refuses_is_said_in_its_words_and_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    grid = write_grid(tmp_path, GRID)
    places = ["--store", tmp_path / "store", "--cluster", "slurm", "--set", "cluster.partition=nowhere"]
    code, out, err = bilin(lab, "sweep", "launch", grid, *places)
    assert (code, out) == (4, "")
    assert "invalid partition specified: nowhere" in err
    assert not (tmp_path / "store").exists()


def tokens(process: Path) -> list[str]:
    """The tokens in the environment of a process."""
    try:
        parts = (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
    return [part.partition(b"=")[2].decode() for part in parts if part.startswith(b"RAY_AUTH_TOKEN=")]
