"""Duration of `bilin sweep plan` for a grid of 100,000 cells with three learning rates, half of the trials stored.

    python benchmarks/planning.py [CELLS]

Prints a line for each part, and then for the whole command as a separate process. Filling the store first takes
about a minute.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bilin.folder import SweepFolder
from bilin.orchestrator.grid import Grid, parse_grid
from bilin.orchestrator.planning.plan import make_plan
from bilin.record import LengthResult, TrialResult
from bilin.results import SweepWriter, stored
from bilin.results.store.contents import read_contents
from bilin.spec import TrialSpec

TARGET_S = 10.0
BATCH = 2000


def grid_text(num_cells: int) -> str:
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


@contextmanager
def timed(part: str) -> Iterator[None]:
    start, cpu_start = time.perf_counter(), time.process_time()
    yield
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    print(f"{part:20s} {wall_s:6.2f} s, of which {cpu_s:5.2f} s processor time")


def fill(store: Path, grid: Grid) -> int:
    """Store the result of every second trial of a grid; return their number."""
    specs = list(make_plan(grid, {}).to_run())[::2]
    with SweepWriter(store, grid.name) as writer:
        for first in range(0, len(specs), BATCH):
            writer.append([(spec, _result(spec)) for spec in specs[first : first + BATCH]])
    return len(specs)


def _result(spec: TrialSpec) -> TrialResult:
    lengths = tuple(LengthResult(length, 1024, spec.test.num_sequences, 5) for length in spec.test.lengths)
    return TrialResult(trial_id=spec.trial_id, status="done", validation_accuracy=0.5, lengths=lengths, wall_s=1.0)


def main(num_cells: int) -> None:
    """Fill a store, then time each part of a plan and the whole command."""
    text = grid_text(num_cells)
    with tempfile.TemporaryDirectory() as folder:
        path, store = Path(folder) / "grid.yaml", Path(folder) / "store"
        path.write_text(text)
        with timed("read, expand, ids"):
            grid = parse_grid(text)
        with timed("fill the store"):
            num_stored = fill(store, grid)
        with timed("checksums alone"):
            read_contents(SweepFolder(store / grid.name))
        with timed("read the store"):
            there = stored(store, grid.name)
        with timed("wanted minus stored"):
            plan = make_plan(grid, there)
        assert (plan.num_done, plan.num_to_run) == (num_stored, grid.max_trials - num_stored)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bilin", "sweep", "plan", path, "--store", store], check=True)
        took = time.perf_counter() - start
    verdict = "met" if took <= TARGET_S else "missed"
    print(f"the command as a whole {took:6.2f} s; target {TARGET_S:g} s: {verdict}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
