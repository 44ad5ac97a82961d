"""Real sweeps for the tests: a small grid, the command line as a process, and stores compared to the last bit."""

from __future__ import annotations

import multiprocessing
import random
import subprocess
import sys
import time
from pathlib import Path

from bilin.orchestrator import ClusterSpec, launch
from bilin.results import SweepWriter, query, stored

GRID = """
name: small
tasks:
  - {name: modular_addition, m: [2, 3]}
models:
  - {tier: real_diagonal, hidden: 8, embedding: 8}
  - {tier: full, hidden: 8, embedding: 8}
train: {steps: 60}
validate: {every: 20, lengths: [20], num_sequences: 64}
test: {lengths: [10, 100], num_sequences: 128}
learning_rate: {choices: [3e-2, 1e-2]}
seeds: [0, 1, 2]
"""
NUM_TRIALS = 24

NOT_REPEATED = {"attempts", "commit", "finished_at", "host", "pack", "pid", "started_at", "test_s", "wall_s", "worker"}
"""Columns in which two runs of one trial may differ; git tells the commit only to the owner of the checkout."""


def write_grid(folder: Path, text: str = GRID) -> Path:
    """A grid.yaml in a folder."""
    path = folder / "grid.yaml"
    path.write_text(text)
    return path


def bilin(*arguments: object) -> subprocess.Popen[str]:
    """The command line as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "bilin", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 120) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a process at its end."""
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def kill_and_relaunch(
    grid: Path, store: Path, cluster: ClusterSpec, *, moments_s: tuple[float, float], kills: int = 20
) -> None:
    """SIGKILL launches at random moments after their start, relaunch each time, and let the last one finish.

    The launches are forked from a server that has torch loaded: the moments fall into trials, not into imports.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warm"])
    moments = random.Random(0)
    while True:
        process = context.Process(target=launch, args=(grid,), kwargs={"store": store, "cluster": cluster})
        process.start()
        process.join(moments.uniform(*moments_s) if kills else None)
        if process.is_alive():
            process.kill()
            process.join()
            kills -= 1
        elif not kills:
            assert process.exitcode == 0
            return
        else:  # it ended before its moment came: take some results away, and go on
            with SweepWriter(store, "small") as writer:
                writer.delete(moments.sample(sorted(stored(store, "small")), NUM_TRIALS // 2))


def contents(store: Path) -> dict[str, list[str]]:
    """All rows of a store, but for what two runs of one trial may differ in; floats to the last bit."""
    rows = {}
    for view in ("trials", "lengths", "curves"):
        table = query(store=store, view=view, everything=True)
        kept = table.select([name for name in table.column_names if name not in NOT_REPEATED])
        rows[view] = sorted(repr(row) for row in kept.to_pylist())
    return rows


def wait_until(condition: object, timeout_s: float) -> bool:
    """Whether a condition came true in time."""
    assert callable(condition)
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.1)
    return False


def workers_of(driver: int) -> list[int]:
    """The Ray workers below a sweep process that have loaded torch: they train, or are about to."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = driver in _ancestors(int(folder.name))
            if (
                mine
                and b"TrialActor" in (folder / "cmdline").read_bytes()
                and "libtorch_cpu" in (folder / "maps").read_text()
            ):
                pids.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pids


def _ancestors(pid: int) -> list[int]:
    parents = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        parents.append(pid)
    return parents
