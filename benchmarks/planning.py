"""Duration of `bilin sweep plan` for 100,000 cells with three learning rates, and of the relaunch of a finished sweep.

    python -m benchmarks.planning [--cells 100000] [--trials 100000] [--json planning.json]

Times the parts of a plan with half of the trials stored; then whole commands, as processes of their own: the plan of
a new sweep, the plan of that one, and the launch of a finished sweep. Filling the store in between takes half a minute.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.output import Table
from bilin.orchestrator.grid import Grid, parse_grid
from bilin.orchestrator.planning.plan import make_plan
from bilin.record import LengthResult, TrialResult
from bilin.results import SweepWriter, stored
from bilin.spec import TrialSpec

BATCH = 2000
CELLS_OF_FINISHED = 100


def cells_text(num_cells: int) -> str:
    """Return a grid of about this number of cells, with axes in every block, a zip and an exclusion."""
    moduli = list(range(2, 2 + max(1, num_cells // 2000)))
    return f"""
name: planning
tasks: [{{name: modular_addition, m: {moduli}}}]
models: [{{tier: cp, rank: {list(range(1, 101))}, hidden: [64, 128], embedding: [64, 128]}}]
train: {{steps: [1000, 2000, 3000, 4000, 5000], batch_size: [32, 64]}}
learning_rate: {{choices: [1e-3, 1e-4, 1e-5]}}
zip: [[hidden, embedding]]
exclude: [{{m: 2, rank: 1}}]
"""


def trials_text(num_trials: int) -> str:
    """Return a grid of 100 cells with this number of trials, which are their seeds."""
    return f"""
name: finished
tasks: [{{name: modular_addition, m: {list(range(2, 2 + CELLS_OF_FINISHED))}}}]
models: [{{tier: rotation}}]
learning_rate: {{choices: [1e-3]}}
seeds: {list(range(max(1, num_trials // CELLS_OF_FINISHED)))}
"""


def fill(store: Path, grid: Grid, *, every: int) -> int:
    """Store the result of every so many of a grid's trials; return how many."""
    specs = list(make_plan(grid, {}).to_run())[::every]
    with SweepWriter(store, grid.name) as writer:
        for first in range(0, len(specs), BATCH):
            writer.append([(spec, _result(spec)) for spec in specs[first : first + BATCH]])
    return len(specs)


def _result(spec: TrialSpec) -> TrialResult:
    lengths = tuple(LengthResult(length, 1024, spec.test.num_sequences, 5) for length in spec.test.lengths)
    return TrialResult(trial_id=spec.trial_id, status="done", validation_accuracy=0.5, lengths=lengths, wall_s=1.0)


@contextmanager
def timed(table: Table, part: str, *, processes: bool = False) -> Iterator[None]:
    """Add a row with the wall and processor time of a part: of this process, or of those that it starts and awaits."""
    start, cpu_start = time.perf_counter(), _cpu_s(processes)
    yield
    table.add(part, time.perf_counter() - start, _cpu_s(processes) - cpu_start)


def _cpu_s(processes: bool) -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN if processes else resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def command(name: str, grid: Path, store: Path, *options: str) -> str:
    """Run `bilin sweep NAME` on a grid and a store; return what it prints."""
    words = [sys.executable, "-m", "bilin", "sweep", name, grid, "--store", store, *options]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--trials", type=int, default=100_000, help="of the finished sweep")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    table = Table("part", "wall time, s", "processor time, s")
    with tempfile.TemporaryDirectory() as folder:
        cells, finished, store = Path(folder) / "cells.yaml", Path(folder) / "finished.yaml", Path(folder) / "store"
        cells.write_text(cells_text(options.cells))
        finished.write_text(trials_text(options.trials))
        with timed(table, "read and expand the grid, ids"):
            grid = parse_grid(cells.read_text())
        with timed(table, "compare, nothing stored"):
            make_plan(grid, {})
        with timed(table, "command: plan of a new sweep", processes=True):
            command("plan", cells, store)
        num_stored = fill(store, grid, every=2)
        with timed(table, "read the store"):
            there = stored(store, grid.name)
        with timed(table, "compare, half stored"):
            plan = make_plan(grid, there)
        assert (plan.num_done, plan.num_to_run) == (num_stored, grid.max_trials - num_stored)
        with timed(table, "command: plan, half stored", processes=True):
            command("plan", cells, store)
        num_finished = fill(store, parse_grid(finished.read_text()), every=1)
        command("launch", finished, store)  # once, as the launch that finished it
        with timed(table, "command: launch of a finished sweep", processes=True):
            command("launch", finished, store)
        assert json.loads(command("plan", finished, store, "--json"))["trials"]["done"] == num_finished
    table.write(options.json)


if __name__ == "__main__":
    main()
