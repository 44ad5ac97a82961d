"""What a pruner saves: a grid of modular addition at hidden size 64 without a pruner, and with each kind of it.

    python benchmarks/pruning.py [--m 2 3 5] [--tier full cp rotation lstm] [--steps 2000] [--seeds 2] [--json FILE]

Nine learning rates a cell, from 1e-1 to 1e-5. Prints, for each kind, the training steps and the time of all trials as a
share of those without a pruner, in how many cells it selects the same learning rate, and the accuracy at length 500.
Trials end when they are solved, also without a pruner.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bilin.orchestrator import ClusterSpec, launch
from bilin.results import query

LRS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
PRUNERS: dict[str, dict[str, Any]] = {
    "none": {},
    "halving": {"kind": "halving", "first": 100, "reduction": 3},
    "median": {"kind": "median", "first": 100, "reduction": 2},
}
TIERS: dict[str, dict[str, Any]] = {"cp": {"rank": 32}, "block_diagonal": {"block_size": 2}}
CELLS = "SELECT task, m, tier, lr, mean FROM cells WHERE length = 500 ORDER BY ALL"
COSTS = """
SELECT sum(steps)::BIGINT AS steps, sum(wall_s) AS wall_s, count(*) FILTER (status = 'pruned') AS pruned FROM trials
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--m", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--tier", nargs="+", default=["full", "cp", "rotation", "lstm"])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    measured = {kind: measure(grid(options, kind)) for kind in PRUNERS}
    whole = measured["none"]
    print("| pruner | trials pruned | steps | time | same learning rate | accuracy at 500 |\n|---|--:|--:|--:|--:|--:|")
    for kind, one in measured.items():
        same = sum(cell["lr"] == other["lr"] for cell, other in zip(one["cells"], whole["cells"], strict=True))
        mean = sum(cell["mean"] for cell in one["cells"]) / len(one["cells"])
        shares = f"{one['steps'] / whole['steps']:.2f} | {one['wall_s'] / whole['wall_s']:.2f}"
        print(f"| {kind} | {one['pruned']} | {shares} | {same} of {len(one['cells'])} | {mean:.3f} |")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


def grid(options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Return the grid with a pruner."""
    return {
        "name": "pruning",
        "tasks": [{"name": "modular_addition", "m": options.m}],
        "models": [{"tier": tier, "hidden": 64, "embedding": 64, **TIERS.get(tier, {})} for tier in options.tier],
        "train": {"steps": options.steps},
        "validate": {"every": 100, "num_sequences": 128},
        "test": {"lengths": [500], "num_sequences": 512},
        "learning_rate": {"choices": list(LRS)},
        "pruner": PRUNERS[kind],
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
