"""Killed sweeps and workers: their stores equal those of undisturbed sweeps to the last bit."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC
from pathlib import Path

import pytest

from bilin.folder import SweepFolder
from bilin.machine import guardian
from bilin.orchestrator import ClusterSpec, launch, status
from bilin.orchestrator.sweep.snapshot import read_snapshot
from bilin.results import query
from tests.sweeps import (
    GRID,
    NUM_TRIALS,
    bilin,
    contents,
    finish,
    kill_and_relaunch,
    wait_until,
    workers_of,
    write_grid,
)

LIMIT_S = 120
"""How long to wait for something that takes a few seconds on a quiet machine."""

ONE = """
name: small
tasks:
  - {name: modular_addition, m: 3}
models:
  - {tier: lstm, hidden: 16, embedding: 16}
train: {steps: 1500, stop_when_solved: false}
validate: {every: 1000, lengths: []}
test: {lengths: [10], num_sequences: 128}
learning_rate: {choices: [1e-2]}
"""

LONG = GRID.replace("steps: 60", "steps: 600, stop_when_solved: false").replace("[0, 1, 2]", "[0]")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small grid, and a store in which it was run in process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    grid = write_grid(folder)
    launch(grid, store=folder / "store", cluster=ClusterSpec(kind="inline"))
    return grid, folder / "store"


def test_the_small_grid_has_no_trial_lost_or_double(undisturbed: tuple[Path, Path]) -> None:
    ids = query(store=undisturbed[1], view="trials", everything=True)["trial_id"].to_pylist()
    assert len(ids) == len(set(ids)) == NUM_TRIALS


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_workers_give_what_one_process_gives(undisturbed: tuple[Path, Path], tmp_path: Path, workers: int) -> None:
    grid, store = undisturbed
    launch(grid, store=tmp_path, cluster=ClusterSpec(workers=workers))
    assert contents(tmp_path) == contents(store)


@pytest.mark.timeout(400)
def test_a_sweep_killed_at_random_moments_ends_as_if_undisturbed(
    undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    grid, store = undisturbed
    kill_and_relaunch(grid, tmp_path, ClusterSpec(kind="inline"), moments_s=(0.1, 1.5))
    assert contents(tmp_path) == contents(store)


def test_a_killed_sweep_goes_on_where_its_trial_was_kept(tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path, ONE), tmp_path / "store"
    kept = store / "small" / "checkpoints"
    process = bilin("sweep", "launch", grid, "--store", store, "--cluster", "inline", "--checkpoint-every", "0.1")
    assert wait_until(lambda: any(kept.glob("*[0-9a-f]")), LIMIT_S)
    process.kill()
    process.communicate()
    killed_at = time.time()
    launch(grid, store=store, cluster=ClusterSpec(kind="inline"))
    launch(grid, store=tmp_path / "undisturbed", cluster=ClusterSpec(kind="inline"))
    assert contents(store) == contents(tmp_path / "undisturbed")
    (started_at,) = query(store=store, view="trials")["started_at"].to_pylist()
    assert started_at.replace(tzinfo=UTC).timestamp() < killed_at
    assert not kept.exists()


@pytest.mark.ray
def test_an_interrupted_sweep_keeps_what_its_workers_have_done(tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path, ONE.replace("steps: 1500", "steps: 1000000")), tmp_path / "store"
    process = bilin("sweep", "launch", grid, "--store", store, "--workers", "1")
    assert wait_until(lambda: _steps(store / "small"), LIMIT_S)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 3
    assert len(list((store / "small" / "checkpoints").iterdir())) == 1


@pytest.mark.ray
def test_a_killed_sweep_on_ray_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, LONG)
    process = bilin("sweep", "launch", grid, "--store", tmp_path, "--workers", "2")
    assert wait_until(lambda: workers_of(process.pid), LIMIT_S)
    ray = _folder_of(workers_of(process.pid)[0])
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert wait_until(lambda: not guardian.belonging(ray), LIMIT_S)
    assert wait_until(lambda: not Path(ray).exists(), LIMIT_S)


@pytest.mark.ray
def test_the_trials_of_a_worker_that_is_killed_run_again(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, LONG)
    process = bilin("sweep", "launch", grid, "--store", tmp_path, "--workers", "2", "--only", "m=2")
    assert wait_until(lambda: workers_of(process.pid), LIMIT_S)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    code, _, err = finish(process)
    assert code == 0
    assert "runs again" in err
    attempts = query(store=tmp_path, view="trials", everything=True)["attempts"].to_pylist()
    assert sorted(attempts) in ([1, 1, 1, 2], [1, 1, 2, 2])  # it had two trials, of which one may have ended
    assert status("small", store=tmp_path).plan.num_to_run == 4, "m=3 was not asked for"


@pytest.mark.ray
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_ray_that_dies_ends_the_sweep_with_what_to_do(tmp_path: Path, name: str) -> None:
    grid = write_grid(tmp_path, LONG)
    process = bilin("sweep", "launch", grid, "--store", tmp_path, "--workers", "1")
    assert wait_until(lambda: workers_of(process.pid), LIMIT_S)
    (pid,) = [pid for pid in guardian.belonging(_folder_of(workers_of(process.pid)[0])) if _runs(pid, name)]
    os.kill(pid, signal.SIGKILL)
    code, _, err = finish(process, LIMIT_S)
    assert code == 4
    assert "the same command continues" in err


def _steps(sweep: Path) -> int:
    """How far the trial that runs has said to be."""
    snapshot = read_snapshot(SweepFolder(sweep))
    return sum(trial.step for trial in snapshot.running) if snapshot else 0


def _runs(pid: int, name: str) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(f"/{name}".encode())


def _folder_of(pid: int) -> str:
    name = f"{guardian.MARK}=".encode()
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(entry.removeprefix(name).decode() for entry in entries if entry.startswith(name))
