"""Stores for the report: with names and errors that attack a page, and with as many trials as a large sweep has."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from bilin.record import Curve, CurvePoint, LengthResult
from bilin.results import SweepWriter, WantedRow
from bilin.spec import Cell
from tests.results.samples import ENVIRONMENT, Pair, cell, failed, pair

ATTACKS = (
    "<script>window.hit = 1</script>",
    '"><img src=x onerror="window.hit = 2">',
    "</script><script>window.hit = 3</script>",
    "{{ 7 * 7 }} ' onmouseover='window.hit = 4",
)


def attacking_store(store: Path) -> Path:
    """Two sweeps: one is complete; of the other, trials failed with errors that are HTML, and one is missing."""
    with SweepWriter(store, "good") as writer:
        cells = [cell("full"), cell("cp", rank=4), cell("cp", rank=16)]
        for of in cells:
            score = {"full": 1.0, "cp": 0.6}[of.model.tier] + getattr(of.model, "rank", 0) / 100
            writer.append(
                [
                    pair(of, lr=lr, seed=seed, accuracy=score - seed / 20 - 10 * lr * (score < 1), curve=4)
                    for lr in (1e-3, 1e-2)
                    for seed in (0, 1)
                ]
            )
        writer.write_grid('{"name": "good", "grids": []}')
        writer.write_wanted([_wanted(of, (1e-3, 1e-2), (0, 1)) for of in cells])
    attacked = dataclasses.replace(ENVIRONMENT, cpu=ATTACKS[0], host=ATTACKS[1], task_package=ATTACKS[2])
    with SweepWriter(store, "bad") as writer:
        writer.append([pair(cell("lstm"), environment=attacked)])
        writer.append(
            [
                failed(cell("lstm"), seed=seed, error=error, traceback=f"Traceback\n{error}", environment=attacked)
                for seed, error in enumerate(ATTACKS, 1)
            ]
        )
        writer.write_wanted([_wanted(cell("lstm"), (1e-3,), tuple(range(6)))])
    return store


def _wanted(of: Cell, lrs: tuple[float, ...], seeds: tuple[int, ...]) -> WantedRow:
    return WantedRow(
        cell_id=of.cell_id, lrs=lrs, seeds=seeds, num_trials=len(lrs) * len(seeds), test_lengths=(10, 500),
        num_sequences=2048,
    )  # fmt: skip


def large_store(store: Path, num_trials: int = 10_000) -> Path:
    """One sweep of ten tasks, five models, and as many learning rates and seeds as it takes; each with a curve."""
    ranks: list[tuple[str, dict[str, Any]]] = [("cp", {"rank": rank}) for rank in (8, 32)]
    models = [("full", {}), *ranks, ("lstm", {}), ("positive_diagonal", {})]
    cells = [cell(tier, m=m, **fields) for m in range(2, 12) for tier, fields in models]
    combinations = itertools.product(cells, [1e-4 * 1.2**step for step in range(20)], range(10))
    with SweepWriter(store, "large") as writer:
        writer.append([_trial(number, *each) for number, each in enumerate(itertools.islice(combinations, num_trials))])
    return store


def _trial(number: int, of: Cell, lr: float, seed: int) -> Pair:
    score = (0.2 + 0.6 * (number * 0.618 % 1.0)) * (1 - seed / 50)
    if number % 50 == 0:
        return failed(of, lr=lr, seed=seed, error=f"RuntimeError: number {number % 7} of a kind")
    lengths = tuple(
        LengthResult(at, round(2048 * score * 0.9**index), 2048, of.task.num_classes)
        for index, at in enumerate((10, 100, 500))
    )
    curve = [CurvePoint(50 * step, None, 2.0 / (step + 1 + seed / 10), score * step / 10) for step in range(11)]
    spec, result = pair(of, lr=lr, seed=seed, accuracy=score, lengths=lengths, wall_s=10.0 * score)
    return spec, dataclasses.replace(result, curve=Curve.of(curve))
