"""What befalls the jobs of a sweep, behind `make survival`: afterwards it ends as if nothing had happened.

Prints for each disturbance how long the sweep took from then on, in how many jobs or starts of one, and how much
training was done twice: at most what a trial had done since its last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from bilin.folder import SweepFolder
from bilin.orchestrator.clusters.slurm.job import recorded_job
from tests.slurm.jobs import GRID, START_S, begun, inline, is_complete, left, logs, submitted
from tests.slurm.lab import Lab
from tests.sweeps import bilin, contents, finish, wait_until, write_grid

PARTITIONS = """
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE
PartitionName=requeued Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE
PartitionName=cancelled Nodes=ALL PriorityTier=1 PreemptMode=CANCEL MaxTime=INFINITE
"""
PREEMPTION = "PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE"
LONGER = GRID.replace("steps: 1500", "steps: 8000")
"""Half a minute passes before Slurm knows that its daemon is gone."""

TWO_NODES = GRID.replace("nodes: 1", "nodes: 2")
THREE_NODES = GRID.replace("nodes: 1", "nodes: 3")
TWO_LONGER = TWO_NODES.replace("steps: 1500", "steps: 20000")
CHECKPOINT_S = 2
TIMES_UP = 3
STRIKES_S = 150
"""When a time limit of two minutes strikes: Slurm looks every 30 seconds."""

Disturb = Callable[[Lab, str, Path], None]


@pytest.fixture(scope="module")
def lab(shared: list[Path]) -> Iterator[Lab]:
    """Three nodes, and partitions whose jobs make room for those of another."""
    with Lab(num_nodes=3, shared=shared, extra=PREEMPTION, partitions=PARTITIONS) as up:
        yield up


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, list[str]]]:
    """The rows of a grid where nothing befell it."""
    return cache(lambda text: inline(tmp_path_factory.mktemp("undisturbed"), text))


def requeue(lab: Lab, job: str, _: Path) -> None:
    """By its user, or an administrator."""
    lab.run("scontrol", "requeue", job)


def preempt(lab: Lab, job: str, _: Path) -> None:
    """By a partition that comes first, which takes all nodes for some seconds."""
    more = lab.run("sbatch", "--parsable", "-p", "high", "-N3", "--exclusive", "--output=/dev/null", "--wrap=sleep 5")
    lab.wait_for(more.strip(), "RUNNING", "COMPLETED", timeout_s=200)
    lab.wait_for_end(more.strip())


def power_off_first(lab: Lab, job: str, _: Path) -> None:
    """The node of the sweep process, which comes back when the job has gone back to the queue."""
    name = lab.job(job)["BatchHost"]
    lab.power_off(name)
    assert wait_until(lambda: lab.job(job)["Restarts"] == "1", 300), lab.job(job)
    lab.start_node(name)


def unplug_other(lab: Lab, job: str, store: Path) -> None:
    """A node with trials alone, until Slurm has given it up; if Slurm then ends the job, its user launches again.

    Slurm ends all that it finds of the job on the node at once; what lay there goes with the next sweep.
    """
    name = other(lab, job)
    lab.unplug(name)
    assert wait_until(lambda: "State=DOWN" in lab.run("scontrol", "show", "node", name), 120)
    lab.plug(name)
    ends = ("COMPLETED", "FAILED", "NODE_FAIL", "CANCELLED")
    assert wait_until(lambda: is_complete(store) or lab.job(job)["JobState"] in ends, START_S * 3), logs(store)
    if not is_complete(store):
        submitted(lab, store.parent / "grid.yaml", "--store", store, "--checkpoint-every", CHECKPOINT_S)
    (after := store.parent / "after").mkdir()
    lab.wait_for_end(submitted(lab, write_grid(after, GRID.replace("nodes: 1", "nodes: 3")), "--store", after))


def power_off_other(lab: Lab, job: str, store: Path) -> None:
    """A node with trials alone, which comes back after the end of the job: that goes on without it."""
    name = other(lab, job)
    lab.power_off(name)
    assert wait_until(lambda: is_complete(store), START_S * 3), logs(store)
    lab.wait_for_end(job)
    lab.start_node(name)


def kill_slurmd(lab: Lab, job: str, store: Path) -> None:
    """Slurm's daemon on the node of the sweep process; what it started goes on until the node is started anew.

    Slurm gives the node up and requeues the job, if that has not come to its end before.
    """
    name = lab.job(job)["BatchHost"]
    lab.kill_slurmd(name)
    assert wait_until(lambda: lab.job(job)["Restarts"] == "1" or is_complete(store), 300), lab.job(job)
    lab.kill_node(name)
    lab.start_node(name)


def cancel(lab: Lab, job: str, store: Path) -> None:
    """By its user, who launches the sweep again."""
    lab.run("scancel", job)
    lab.wait_for_end(job)
    submitted(lab, store.parent / "grid.yaml", "--store", store, "--checkpoint-every", CHECKPOINT_S)


@pytest.mark.parametrize(
    ("disturb", "partition", "text"),
    [
        (requeue, "main", GRID),
        (preempt, "requeued", GRID),
        (preempt, "cancelled", GRID),
        (cancel, "main", GRID),
        (kill_slurmd, "main", LONGER),
        (power_off_first, "main", TWO_NODES),
        (power_off_first, "main", THREE_NODES),
        (power_off_other, "main", TWO_NODES),
        (unplug_other, "main", TWO_LONGER),
    ],
    ids=[
        "requeue",
        "preempted-requeued",
        "preempted-cancelled",
        "scancel",
        "slurmd",
        "power-first",
        "power-first-of-three",
        "power-other",
        "unplug-other",
    ],
)
def test_a_disturbed_sweep_ends_as_if_undisturbed(
    lab: Lab,
    tmp_path: Path,
    undisturbed: Callable[[str], dict[str, list[str]]],
    request: pytest.FixtureRequest,
    disturb: Disturb,
    partition: str,
    text: str,
) -> None:
    grid, store = write_grid(tmp_path, text), tmp_path / "store"
    asked = ["--set", f"cluster.partition={partition}", "--checkpoint-every", CHECKPOINT_S]
    job = submitted(lab, grid, "--store", store, *asked)
    kept = begun(store)
    at = time.time()
    repeated = max(at - path.stat().st_mtime for path in kept)
    disturb(lab, job, store)
    assert wait_until(lambda: is_complete(store), START_S * 3), logs(store)
    took = time.time() - at
    print(f"\n{request.node.callspec.id}: complete after {took:.0f} s, {starts(store)} starts, {repeated:.1f} s twice")
    assert contents(store) == undisturbed(text)
    last = recorded_job(SweepFolder(store / "tiny"))
    assert last
    assert lab.wait_for_end(last.job_id) == "COMPLETED"
    assert wait_until(lambda: not left(lab), 60), left(lab)


@pytest.mark.timeout(7200)
def test_a_sweep_whose_time_is_up_three_times_ends_as_if_it_had_more(lab: Lab, tmp_path: Path) -> None:
    """Not warned before: the limit itself strikes, and leaves the ten seconds of `KillWait` to keep what runs."""
    at = time.time()
    inline(tmp_path)
    enough = int(1500 * TIMES_UP * STRIKES_S / (time.time() - at))
    text = GRID.replace("steps: 1500", f"steps: {enough}").replace("time: 10", "time: 2, warning: 0")
    grid, store, alone = write_grid(tmp_path, text), tmp_path / "store", tmp_path / "alone"
    reference = bilin("sweep", "launch", grid, "--store", alone, "--cluster", "inline")
    at = time.time()
    submitted(lab, grid, "--store", store, "--checkpoint-every", CHECKPOINT_S)
    for count in range(1, TIMES_UP + 1):
        assert wait_until(lambda count=count: logs(store).count("time is up") >= count, 1000), logs(store)
        assert not is_complete(store), "it needed less time"
    for job in lab.run("squeue", "-h", "-o", "%A").split():
        lab.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    assert wait_until(lambda: is_complete(store), START_S * 3), logs(store)
    print(f"\n{TIMES_UP} times, {enough} steps: complete after {time.time() - at:.0f} s, {starts(store)} starts")
    assert finish(reference, 3600)[0] == 0
    assert contents(store) == contents(alone)


def other(lab: Lab, job: str) -> str:
    """The node of a job of two in which the sweep process is not."""
    first = lab.job(job)["BatchHost"]
    (name,) = (name for name in lab.names if name != first and lab.files(name))
    return name


def starts(store: Path) -> int:
    """How often a job of the sweep began."""
    return logs(store).count("Ray is up on")
