"""How often each cell of examples/quickstart.yaml reaches 1.00 at the longest tested length, over many seeds.

    python benchmarks/quickstart_seeds.py [--seeds 10] [--only tier=full,m=5] [--workers 1]

Prints a line for each trial as it ends, then a table. For each cell: how many seeds reach a scaled accuracy of 1.00
(0 is chance, rounded to two decimals), how many solved the cell, the lowest and highest scaled accuracy, and the
median of steps and seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from bilin.orchestrator.grid import WantedCell, read_grid
from bilin.record import TrialResult
from bilin.spec import TrialSpec
from bilin.workers import run_trial

GRID = Path(__file__).parents[1] / "examples" / "quickstart.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, default=GRID)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", action="append", default=[], help="restrict the grid, as for `bilin sweep launch`")
    parser.add_argument("--set", action="append", default=[], help="override a field, as for `bilin sweep launch`")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes; with more than one for each core, the seconds mean nothing"
    )
    options = parser.parse_args()
    cells = read_grid(options.grid, overrides=options.set, only=options.only).cells
    specs = [spec for cell in cells for spec in expand(cell, options.seeds)]
    results: dict[str, list[TrialResult]] = {label(spec): [] for spec in specs}
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run_trial, spec): spec for spec in specs}
        for future in as_completed(running):
            spec, result = running[future], future.result()
            results[label(spec)].append(result)
            print(f"{label(spec)} seed={spec.seed}: {describe(result)}", flush=True)
    print(f"\n| cell | at 1.00 of {options.seeds} | solved | lowest | highest | steps | seconds |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, of_cell in results.items():
        print(row(name, of_cell))


def expand(wanted: WantedCell, num_seeds: int) -> Iterator[TrialSpec]:
    for lr in wanted.learning_rate.choices:
        for seed in range(num_seeds):
            yield TrialSpec(cell=wanted.cell, lr=lr, seed=seed, test=wanted.test, resources=wanted.resources)


def label(spec: TrialSpec) -> str:
    return f"{spec.cell.model.tier} m={spec.cell.task.m} lr={spec.lr:g}"


def scaled(result: TrialResult) -> float:
    """Return the scaled accuracy at the longest tested length; 0, as at chance, for a trial without one."""
    if not result.lengths:
        return 0.0
    longest = max(result.lengths, key=lambda tested: tested.length)
    chance = 1 / longest.num_classes
    return (longest.accuracy - chance) / (1 - chance)


def describe(result: TrialResult) -> str:
    return (
        f"{result.error or result.stop_reason} after {result.steps} steps, {result.wall_s:.1f} s, "
        f"validation {result.validation_accuracy}, scaled {scaled(result):.3f}"
    )


def row(name: str, results: list[TrialResult]) -> str:
    at_one = sum(round(scaled(result), 2) == 1.0 for result in results)
    solved = sum(result.solved for result in results)
    steps, seconds = (statistics.median(getattr(result, key) for result in results) for key in ("steps", "wall_s"))
    least, greatest = min(map(scaled, results)), max(map(scaled, results))
    return f"| {name} | {at_one} | {solved} | {least:.3f} | {greatest:.3f} | {steps:,.0f} | {seconds:.1f} |"


if __name__ == "__main__":
    main()
