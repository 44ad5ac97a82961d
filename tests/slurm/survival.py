"""What befalls the jobs of a sweep, behind `make survival`: afterwards it ends as if nothing had happened.

Prints for each disturbance how long the sweep took from then on, in how many jobs or starts of one, and how much
training was done twice: at most what a trial had done since its last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bilin.orchestrator.clusters.slurm.job import kept_job
from tests.slurm.jobs import GRID, START_S, begun, inline, is_complete, left, logs, submitted
from tests.slurm.lab import Lab
from tests.sweeps import contents, wait_until, write_grid

PARTITIONS = """
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE
PartitionName=requeued Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE
PartitionName=cancelled Nodes=ALL PriorityTier=1 PreemptMode=CANCEL MaxTime=INFINITE
"""
PREEMPTION = "PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE"
CHECKPOINT_S = 2

Disturb = Callable[[Lab, str, Path], None]


@pytest.fixture(scope="module")
def lab(shared: list[Path]) -> Iterator[Lab]:
    """Three nodes, and partitions whose jobs make room for those of another."""
    with Lab(num_nodes=3, shared=shared, extra=PREEMPTION, partitions=PARTITIONS) as up:
        yield up


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The rows of the grid where nothing befell it."""
    return inline(tmp_path_factory.mktemp("undisturbed"))


def requeue(lab: Lab, job: str, _: Path) -> None:
    """By its user, or an administrator."""
    lab.run("scontrol", "requeue", job)


def preempt(lab: Lab, job: str, _: Path) -> None:
    """By a partition that comes first, which takes all nodes for some seconds."""
    more = lab.run("sbatch", "--parsable", "-p", "high", "-N3", "--exclusive", "--output=/dev/null", "--wrap=sleep 5")
    lab.wait_for(more.strip(), "RUNNING", "COMPLETED", timeout_s=200)
    lab.wait_for_end(more.strip())


def cancel(lab: Lab, job: str, store: Path) -> None:
    """By its user, who launches the sweep again."""
    lab.run("scancel", job)
    lab.wait_for_end(job)
    submitted(lab, store.parent / "grid.yaml", "--store", store, "--checkpoint-every", CHECKPOINT_S)


@pytest.mark.parametrize(
    ("disturb", "partition"),
    [
        (requeue, "main"),
        (preempt, "requeued"),
        (preempt, "cancelled"),
        (cancel, "main"),
    ],
    ids=["requeue", "preempted-requeued", "preempted-cancelled", "scancel"],
)
def test_a_disturbed_sweep_ends_as_if_undisturbed(
    lab: Lab,
    tmp_path: Path,
    undisturbed: dict[str, list[str]],
    request: pytest.FixtureRequest,
    disturb: Disturb,
    partition: str,
) -> None:
    grid, store = write_grid(tmp_path, GRID), tmp_path / "store"
    asked = ["--set", f"cluster.partition={partition}", "--checkpoint-every", CHECKPOINT_S]
    job = submitted(lab, grid, "--store", store, *asked)
    kept = begun(store)
    at = time.time()
    repeated = max(at - path.stat().st_mtime for path in kept)
    disturb(lab, job, store)
    assert wait_until(lambda: is_complete(store), START_S * 3), logs(store)
    took = time.time() - at
    print(f"\n{request.node.callspec.id}: complete after {took:.0f} s, {starts(store)} starts, {repeated:.1f} s twice")
    assert contents(store) == undisturbed
    last = kept_job(store / "tiny")
    assert last
    assert lab.wait_for_end(last.job_id) == "COMPLETED"
    assert wait_until(lambda: not left(lab), 60), left(lab)


def starts(store: Path) -> int:
    """How often a job of the sweep began."""
    return logs(store).count("Ray is up on")
