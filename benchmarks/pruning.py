"""What a pruner saves: a grid of modular addition at hidden size 64 without a pruner, and with each kind of it.

    python -m benchmarks.pruning [--m 2 3 5] [--tier cp rotation block_diagonal] [--steps 2000] [--first 100 500]
                                 [--asynchronous]

Nine learning rates a cell, from 1e-1 to 1e-5. Prints, for each kind and first rung, the training steps and the time of
all trials as a share of those without a pruner, in how many cells it selects the same learning rate, in how many the
accuracy at length 500 is as good (within 0.02), and the mean of that accuracy. Trials end when they are solved, also
without a pruner. One process runs all trials, so what asynchronous rungs save by not waiting does not show.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.output import Table
from bilin.orchestrator import ClusterSpec, launch
from bilin.results import query

LRS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
REDUCTIONS = {"halving": 3, "median": 2}
TIERS: dict[str, dict[str, Any]] = {"cp": {"rank": 32}, "block_diagonal": {"block_size": 2}}
CELLS = "SELECT task, m, tier, lr, mean FROM cells WHERE length = 500 ORDER BY ALL"
COSTS = """
SELECT sum(steps)::BIGINT AS steps, sum(wall_s) AS wall_s, count(*) FILTER (status = 'pruned') AS pruned FROM trials
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--m", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--tier", nargs="+", default=["cp", "rotation", "block_diagonal"])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--first", type=int, nargs="+", default=[100, 500], help="steps at the first rung")
    parser.add_argument("--asynchronous", action="store_true", help="also measure each pruner with asynchronous rungs")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    whole = measure(grid(options, {}))
    measured = {"none": whole}
    for kind, reduction in REDUCTIONS.items():
        for first in options.first:
            for asynchronous in [False, True] if options.asynchronous else [False]:
                pruner = {"kind": kind, "first": first, "reduction": reduction, "asynchronous": asynchronous}
                measured[f"{kind}, first {first}{', asynchronous' if asynchronous else ''}"] = measure(
                    grid(options, pruner)
                )
    table = Table("pruner", "pruned", "steps", "time", "cells", "same learning rate", "as good", "accuracy at 500")
    for name, one in measured.items():
        pairs = list(zip(one["cells"], whole["cells"], strict=True))
        same = sum(cell["lr"] == other["lr"] for cell, other in pairs)
        as_good = sum(cell["mean"] >= other["mean"] - 0.02 for cell, other in pairs)
        mean = sum(cell["mean"] for cell, _ in pairs) / len(pairs)
        steps, time = one["steps"] / whole["steps"], one["wall_s"] / whole["wall_s"]
        table.add(name, one["pruned"], steps, time, len(pairs), same, as_good, mean)
    table.write(options.json)


def grid(options: argparse.Namespace, pruner: dict[str, Any]) -> dict[str, Any]:
    """Return the grid with a pruner."""
    return {
        "name": "pruning",
        "tasks": [{"name": "modular_addition", "m": options.m}],
        "models": [{"tier": tier, "hidden": 64, "embedding": 64, **TIERS.get(tier, {})} for tier in options.tier],
        "train": {"steps": options.steps},
        "validate": {"every": 100, "num_sequences": 128},
        "test": {"lengths": [500], "num_sequences": 512},
        "learning_rate": {"choices": list(LRS)},
        "pruner": pruner,
        "seeds": list(range(options.seeds)),
    }


def measure(source: dict[str, Any]) -> dict[str, Any]:
    """Run a grid in a store of its own; return what its trials took, and its cells."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        launch(source, store=store, cluster=ClusterSpec(kind="inline"), progress=False)
        (costs,) = query(COSTS, store=store).to_pylist()
        return {**costs, "cells": query(CELLS, store=store).to_pylist()}


if __name__ == "__main__":
    main()
