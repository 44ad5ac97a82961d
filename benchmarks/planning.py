"""How long it takes to read a grid of 100,000 cells and give each its id.

Run it with ``python benchmarks/planning.py [CELLS]``; it prints one line a part.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

TARGET_S = 4.0


def grid_text(num_cells: int) -> str:
    """A grid of about so many cells: every block has axes, and a zip and an exclusion take part."""
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
    print(f"{part:20s} {wall_s:6.2f} s, of them {cpu_s:5.2f} s computing")


def main(num_cells: int) -> None:
    with timed("import"):
        from bilin.orchestrator.grid import parse_grid, resolved, restore_grid
    text = grid_text(num_cells)
    start = time.perf_counter()
    with timed("read, expand, ids"):
        grid = parse_grid(text)
    took = time.perf_counter() - start
    with timed("write resolved"):
        stored = resolved(grid)
    with timed("restore resolved"):
        restore_grid(stored)
    verdict = "met" if took <= TARGET_S else "missed"
    print(f"{len(grid.cells)} cells, {grid.max_trials} trials; target {TARGET_S:g} s: {verdict}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
