"""What a sweep makes of each class of failure, on two nodes: real signals, a real end for want of memory."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bilin.orchestrator import ClusterSpec, launch
from bilin.orchestrator.grid import Grid
from bilin.record import TrialResult
from bilin.results import query
from bilin.spec import TrialSpec
from tests.orchestrator.runs import no_op

Tiny = Callable[..., Grid]

pytestmark = pytest.mark.ray


class FailsFirst:
    """A run that notes where each attempt was, and fails in those before ``good``."""

    def __init__(self, folder: Path, fail: Callable[[TrialSpec], TrialResult], good: int) -> None:
        self.folder, self.fail, self.good = folder, fail, good

    def __call__(self, spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        import ray

        attempt = len(list(self.folder.iterdir())) + 1
        (self.folder / f"{attempt}").write_text(f"{ray.get_runtime_context().get_node_id()} {os.getpid()}")
        return no_op(spec) if attempt >= self.good else self.fail(spec)

    def places(self) -> list[list[str]]:
        return [path.read_text().split() for path in sorted(self.folder.iterdir())]


def ecc(spec: TrialSpec) -> TrialResult:
    error = "AcceleratorError: CUDA error: uncorrectable ECC error encountered"
    return TrialResult(trial_id=spec.trial_id, status="hardware", error=error)


def bus_error(spec: TrialSpec) -> TrialResult:
    """As a disk that fails under a file in memory does: the system has nothing to put there."""
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        raise AssertionError(mapped[0])


def killed(spec: TrialSpec) -> TrialResult:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def allocates(spec: TrialSpec) -> TrialResult:
    raise MemoryError(len(bytearray(2**60)))


def waits(spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
    time.sleep(100)
    return no_op(spec)


def test_a_worker_that_ray_ends_for_want_of_memory_is_not_run_again(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before the nodes below are up: a Ray of our own, in the process that started them, would wait for ever.
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    # In a process of its own, which Ray sometimes ends too: that must not end the other tests.
    arguments = {"store": tmp_path, "cluster": ClusterSpec(workers=1), "run": waits}
    sweep = multiprocessing.get_context("spawn").Process(
        target=launch, args=(tiny(m=2, rate="{choices: [1e-3]}"),), kwargs=arguments
    )
    sweep.start()
    sweep.join()
    assert sweep.exitcode == 0
    (row,) = query(store=tmp_path, view="trials", everything=True).to_pylist()
    assert (row["status"], row["attempts"]) == ("oom", 1)
    assert "exceeded threshold" in row["traceback"]
    assert "COMMAND" not in row["traceback"], "the command lines of other processes are nobody's business"


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """The address of a Ray of two nodes of one CPU."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
    cluster.add_node(**options)
    yield cluster.address
    folder = cluster.head_node.get_session_dir_path()
    cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sweep(two_nodes: str, tiny: Tiny, tmp_path: Path) -> Callable[..., tuple[FailsFirst, dict[str, Any]]]:
    """Launch a sweep of one trial; its run, and its row."""

    def sweep(fail: Callable[[TrialSpec], TrialResult], good: int) -> tuple[FailsFirst, dict[str, Any]]:
        (tmp_path / "attempts").mkdir()
        run = FailsFirst(tmp_path / "attempts", fail, good)
        grid, where = tiny(m=2, rate="{choices: [1e-3]}"), ClusterSpec(kind="ray", address=two_nodes)
        launch(grid, store=tmp_path / "store", cluster=where, run=run)
        (row,) = query(store=tmp_path / "store", view="trials", everything=True).to_pylist()
        return run, row

    return sweep


@pytest.mark.slow
def test_a_hardware_error_runs_again_on_another_node_and_on_the_last_one_anew(sweep: Callable[..., Any]) -> None:
    run, row = sweep(ecc, 3)
    assert (row["status"], row["attempts"]) == ("done", 3)
    (first, second, third) = run.places()
    assert first[0] != second[0], "on another node"
    assert len({first[1], second[1], third[1]}) == 3, "a process whose device has failed runs nothing more"


def test_a_hardware_error_that_stays_is_said_after_three_attempts(sweep: Callable[..., Any]) -> None:
    _, row = sweep(ecc, 9)
    assert (row["status"], row["attempts"]) == ("hardware", 3)
    assert "ECC" in row["error"]


def test_a_bus_error_is_one_of_hardware(sweep: Callable[..., Any]) -> None:
    run, row = sweep(bus_error, 2)
    assert (row["status"], row["attempts"]) == ("done", 2)
    assert run.places()[0][0] != run.places()[1][0]


def test_a_worker_that_is_killed_is_lost_and_runs_again(sweep: Callable[..., Any]) -> None:
    _, row = sweep(killed, 2)
    assert (row["status"], row["attempts"]) == ("done", 2)


def test_memory_that_is_not_there_is_not_asked_for_again(sweep: Callable[..., Any]) -> None:
    _, row = sweep(allocates, 2)
    assert (row["status"], row["attempts"]) == ("oom", 1)
