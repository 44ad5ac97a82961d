"""The long campaigns behind `make survival`, on Ray: a sweep that is killed 50 times, and sweeps beside each other.

Prints how much training was done twice: what the trials that ran had done since they were last kept.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from bilin.folder import SweepFolder
from bilin.orchestrator import ClusterSpec, launch, status
from bilin.orchestrator.sweep.snapshot import read_snapshot
from bilin.results import query
from bilin.workers.training.checkpoint import Checkpoints
from tests.sweeps import contents, finish, wait_until, workers_of, write_grid
from tests.user import User

GRID = """
name: killed
tasks:
  - {name: modular_addition, m: [3, 5]}
models:
  - {tier: lstm, hidden: 32, embedding: 32}
train: {steps: 8000, stop_when_solved: false}
validate: {every: 2000, lengths: [20], num_sequences: 64}
test: {lengths: [10, 100], num_sequences: 128}
learning_rate: {choices: [1e-2, 3e-3]}
seeds: [0, 1, 2, 3]
"""
SHORTER = GRID.replace("steps: 8000", "steps: 3000")
KILLS = 50
CHECKPOINT_S = 2.0
FIRST_UID = 64_100
"""Between the uids of people and those that systemd gives out."""

SLACK_S = 3.0
"""What keeping a state, and what is running being said, may take on a machine that has other work."""


class Twice:
    """How much was trained twice, over the kills."""

    def __init__(self, store: Path) -> None:
        self._sweep = store / "killed"
        self._checkpoints = Checkpoints(SweepFolder(self._sweep), CHECKPOINT_S)
        self.seconds: list[float] = []

    def count(self, launch: int, pids: Sequence[int] = ()) -> None:
        """To be called at a kill: of all trials that a launch runs, or of those in some processes."""
        snapshot, now = read_snapshot(SweepFolder(self._sweep)), time.time()
        if snapshot is None or snapshot.pid != launch:
            return
        for trial in snapshot.running:
            if trial.host and (not pids or trial.pid in pids):
                kept = self._checkpoints.latest(trial.trial_id)
                fresh = kept is not None and kept.at > trial.since
                # Without one since it began it has trained for less than the period: the rest was loading.
                self.seconds.append(now - kept.at if kept and fresh else min(now - trial.since, CHECKPOINT_S))

    def __str__(self) -> str:
        return f"{sum(self.seconds):.0f} s of training done twice, at most {max(self.seconds):.1f} s of a trial at once"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The rows of the grid where nothing befell it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    launch(write_grid(folder, GRID), store=folder / "store", cluster=ClusterSpec(workers=2))
    print(f"\nundisturbed: {time.monotonic() - started:.0f} s")
    return contents(folder / "store")


@pytest.mark.ray
@pytest.mark.slow
def test_a_sweep_whose_process_is_killed_50_times_ends_as_if_undisturbed(
    tmp_path: Path, undisturbed: dict[str, list[str]]
) -> None:
    grid, store = write_grid(tmp_path, GRID), tmp_path / "store"
    processes, folders = ray_processes(), set(Path("/tmp").glob("bilin-*"))
    moments, twice, started = random.Random(0), Twice(store), time.monotonic()
    for _ in range(KILLS):
        process = launched(grid, store)
        with pytest.raises(subprocess.TimeoutExpired):  # it must not end by itself: then fewer would be killed
            process.wait(moments.uniform(0.5, 20.0))
        twice.count(process.pid)
        process.kill()
        process.wait()
    took = time.monotonic() - started
    assert launched(grid, store).wait() == 0
    print(f"\nits process killed {KILLS} times in {took:.0f} s: {twice}")
    assert contents(store) == undisturbed
    assert max(twice.seconds) < CHECKPOINT_S + SLACK_S
    # No more than before: what another sweep on this machine had then may have ended since.
    assert wait_until(lambda: ray_processes() <= processes and set(Path("/tmp").glob("bilin-*")) <= folders, 10)


@pytest.mark.ray
@pytest.mark.slow
def test_a_sweep_whose_workers_are_killed_50_times_ends_as_if_undisturbed(
    tmp_path: Path, undisturbed: dict[str, list[str]]
) -> None:
    grid, store = write_grid(tmp_path, GRID), tmp_path / "store"
    moments, twice, started, kills, launches = random.Random(1), Twice(store), time.monotonic(), 0, 0
    while not launches or status("killed", store=store).plan.num_to_run:
        process = launched(grid, store)
        launches += 1
        while process.poll() is None:
            time.sleep(moments.uniform(0.5, 8.0))
            workers = workers_of(process.pid)
            if kills < KILLS and workers and process.poll() is None:
                pid = moments.choice(workers)
                twice.count(process.pid, [pid])
                os.kill(pid, signal.SIGKILL)
                kills += 1
    attempts = query("SELECT max(attempts) AS most FROM trials", store=store).to_pylist()[0]["most"]
    took = time.monotonic() - started
    print(f"\n{kills} workers killed in {took:.0f} s, {launches} launches, at most {attempts} attempts in one: {twice}")
    assert kills == KILLS
    assert contents(store) == undisturbed
    assert max(twice.seconds) < CHECKPOINT_S + SLACK_S


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as somebody else")
@pytest.mark.parametrize("num_users", [1, 2])
def test_sweeps_beside_each_other_do_not_notice_and_leave_nothing(tmp_path: Path, num_users: int) -> None:
    arguments = ["sweep", "launch", "grid.yaml", "--workers", "1", "--checkpoint-every", CHECKPOINT_S, "--store"]
    with ExitStack() as stack:
        users = [stack.enter_context(User(FIRST_UID + number)) for number in range(num_users)]
        for user in users:
            write_grid(user.home, SHORTER)
        killed, other = users[0].bilin(*arguments, "killed"), users[-1].bilin(*arguments, "other")
        for process in (killed, other):
            stack.callback(process.communicate)
            stack.callback(process.kill)
        assert wait_until(lambda: workers_of(killed.pid) and workers_of(other.pid), 300)
        ports = [port for user in users for port in user.ports()]
        assert len(set(ports)) == len(ports) >= 2
        killed.kill()
        killed.communicate()
        for process in (users[0].bilin(*arguments, "killed"), other):  # launched again, it goes on beside the other
            code, _, err = finish(process, 1800)
            assert code == 0, err
        launch(write_grid(tmp_path, SHORTER), store=tmp_path, cluster=ClusterSpec(kind="inline"))
        alone = contents(tmp_path)
        for store in (users[0].home / "killed", users[-1].home / "other"):
            assert contents(store) == alone
        assert query("SELECT max(attempts) AS most FROM trials", store=users[-1].home / "other")["most"][0].as_py() == 1
        assert wait_until(lambda: not any(user.left() for user in users), 30), [user.left() for user in users]
    print(f"\n{num_users} users: nothing left")


def launched(grid: Path, store: Path) -> subprocess.Popen[bytes]:
    """The command line as a process, whose output nobody reads."""
    asked = ["--store", store, "--workers", 2, "--checkpoint-every", CHECKPOINT_S]
    command = [sys.executable, "-m", "bilin", "sweep", "launch", grid, *asked]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ray_processes() -> int:
    """How many processes of any Ray there are on this machine."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        count += words.startswith(b"ray::") or b"/raylet/raylet" in words or b"/gcs/gcs_server" in words
    return count
