"""Commands that read a large store, each in a new process, beside pandas and polars on the same files.

    python -m benchmarks.query [--trials 1000000] [--store DIR] [--rounds 3] [--json query.json]

Writes a sweep of this many trials through the real writer, with accuracies drawn at random and curves of 4 points,
unless --store has one already. Then it prints the shortest wall and processor time of each command, with the start of
Python. pandas and polars take part if they are installed: they answer what "grouped by rate" answers, without looking
at what the grid wants, at superseded rows, or for damaged files.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.output import Table
from bilin.orchestrator.grid import parse_grid
from bilin.orchestrator.planning.plan import make_plan
from bilin.orchestrator.sweep.recorder import write_grid
from bilin.record import Curve, CurvePoint, LengthResult, TrialResult
from bilin.results import SweepWriter
from bilin.spec import TrialSpec

GRID = """
name: large
tasks: [{{name: modular_addition, m: [{moduli}]}}]
models:
  - {{tier: full}}
  - {{tier: rotation}}
  - {{tier: real_diagonal}}
  - {{tier: positive_diagonal}}
  - {{tier: cp, rank: 8}}
learning_rate: {{choices: [1e-2, 3e-3, 1e-3, 3e-4]}}
seeds: [{seeds}]
"""
CELLS, RATES, AT_ONCE = 250, 4, 2000

GROUPED = """
SELECT tier, m, lr, length, avg(accuracy) FROM trials JOIN lengths USING (sweep, trial_id) {where} GROUP BY ALL
"""
FILTERED = GROUPED.format(where="WHERE tier = 'full' AND m = 7 AND length = 500")
BY_RATE = "SELECT tier, m, lr, avg(validation_accuracy) FROM trials GROUP BY ALL"
PANDAS = """
import pandas, glob
names = ["tier", "m", "lr", "validation_accuracy"]
trials = pandas.concat(pandas.read_parquet(f, columns=names) for f in glob.glob({files!r}))
print(trials.groupby(["tier", "m", "lr"])["validation_accuracy"].mean().head())
"""
POLARS = """
import polars
trials = polars.scan_parquet({files!r})
print(trials.group_by("tier", "m", "lr").agg(polars.col("validation_accuracy").mean()).collect())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000_000, help=f"a multiple of {CELLS * RATES}")
    parser.add_argument("--store", type=Path, help="a folder to keep, or one that a former run has kept")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or Path(folder)
        if not (store / "large").exists():
            write(store, options.trials)
        table = Table("command", "wall, s", "processor, s")
        for name, times in measure(commands(store), options.rounds).items():
            table.add(name, *times)
    table.write(options.json)


def write(store: Path, count: int) -> None:
    """Write a sweep of so many trials, and compact it."""
    seeds = count // (CELLS * RATES)
    numbers = (", ".join(map(str, numbers)) for numbers in (range(2, 2 + CELLS // 5), range(seeds)))
    plan = make_plan(parse_grid(GRID.format_map(dict(zip(("moduli", "seeds"), numbers, strict=True)))), {})
    began = time.perf_counter()
    specs = (cell.spec(*ask.key) for cell in plan.cells for ask in cell.to_run)
    with SweepWriter(store, "large") as writer:
        for some in parts(specs):
            writer.append([(spec, result(spec)) for spec in some])
        write_grid(writer, plan, has_ended=True)
        writer.compact()
    print(f"{count} trials were written in {time.perf_counter() - began:.0f} s\n", flush=True)


def parts(specs: Iterator[TrialSpec]) -> Iterator[list[TrialSpec]]:
    """Cut the trials into parts that are written together."""
    while some := list(itertools.islice(specs, AT_ONCE)):
        yield some


def result(spec: TrialSpec) -> TrialResult:
    """Return a result with accuracies drawn at random."""
    draw = random.Random(spec.trial_id)
    right = [draw.randrange(2049) for _ in range(2)]
    return TrialResult(
        trial_id=spec.trial_id,
        status="done",
        stop_reason="budget",
        validation_accuracy=min(right) / 2048,
        training_loss=draw.random(),
        steps=1000,
        lengths=tuple(LengthResult(n, num, 2048, 5, num) for n, num in zip((10, 500), right, strict=True)),
        curve=Curve.of([CurvePoint(step * 250, None, draw.random(), draw.random()) for step in range(1, 5)]),
        wall_s=1.0,
    )


def commands(store: Path) -> dict[str, list[str]]:
    """Return what is measured."""
    bilin = [sys.executable, "-m", "bilin", "results"]
    place = ["--store", str(store)]
    files = str(store / "large" / "trials-*.parquet")
    found = {
        "bilin --version": [sys.executable, "-m", "bilin", "--version"],
        "import pyarrow, duckdb": [sys.executable, "-c", "import pyarrow.dataset, duckdb"],
        "results query": [*bilin, "query", *place],
        "results query, filtered": [*bilin, "query", "--where", "tier = 'full' AND m = 7 AND length = 500", *place],
        "results query, one cell": [*bilin, "query", FILTERED, *place],
        "results query, grouped": [*bilin, "query", GROUPED.format(where=""), *place],
        "results query, grouped by rate": [*bilin, "query", BY_RATE, *place],
        "results table": [*bilin, "table", "--sweep", "large", *place],
        "sweep status": [sys.executable, "-m", "bilin", "sweep", "status", "large", *place],
    }
    for name, code in (("pandas", PANDAS), ("polars", POLARS)):
        if importlib.util.find_spec(name):
            found[f"{name}, grouped by rate"] = [sys.executable, "-c", code.format(files=files)]
    return found


def measure(of_name: dict[str, list[str]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the shortest wall and processor time of each command; they take turns."""
    shortest = dict.fromkeys(of_name, (float("inf"), float("inf")))
    for _ in range(rounds):
        for name, command in of_name.items():
            began, before = time.perf_counter(), os.times()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            wall_s, after = time.perf_counter() - began, os.times()
            cpu_s = sum(after[2:4]) - sum(before[2:4])
            shortest[name] = min(shortest[name][0], wall_s), min(shortest[name][1], cpu_s)
    return shortest


if __name__ == "__main__":
    main()
