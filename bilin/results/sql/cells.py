"""The table `cells`: what each cell reached, at the learning rate that it selects."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from bilin.models import MODELS
from bilin.results.statistics import mean_interval
from bilin.rules import Outcome, select_lr
from bilin.tasks import TASKS

TRIAL_COLUMNS = (
    "sweep", "cell_id", "lr", "seed", "status", "solved", "validation_accuracy", "training_loss", "test_lengths",
    "params", "recurrent_params",
)  # fmt: skip
"""What must be known of each trial, beside the columns of its cell; sorted by the first four."""

TESTED_COLUMNS = ("sweep", "cell_id", "length", "lr", "accuracy_scaled")
"""What must be known of each tested length; sorted by the first four and the seed."""

_Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A cell's selected rate; `row` is that of one of its trials, which has the cell's columns."""

    row: int
    lr: float
    num_solved: int
    test_lengths: Sequence[int]
    params: tuple[int | None, int | None]


class _Summary(NamedTuple):
    """What a row of the table says beside the columns of its cell: see docs/results.md."""

    params: int | None
    recurrent_params: int | None
    length: int
    lr: float
    num_seeds: int
    num_solved: int
    mean: float | None
    low: float | None
    high: float | None
    best: float | None


_SUMMARY: Mapping[str, pa.DataType] = {
    "params": pa.int64(),
    "recurrent_params": pa.int64(),
    "length": pa.int64(),
    "lr": pa.float64(),
    "num_seeds": pa.int64(),
    "num_solved": pa.int64(),
    "mean": pa.float64(),
    "low": pa.float64(),
    "high": pa.float64(),
    "best": pa.float64(),
}


def cells_columns(columns: Sequence[str]) -> list[str]:
    """The columns of the table, among them those that describe a cell."""
    return ["sweep", "cell_id", *columns, *_SUMMARY]


def cells_table(trials: pa.Table, tested: pa.Table, columns: Sequence[str]) -> pa.Table:
    """One row a cell and length.

    Args:
        trials: One row a trial: `TRIAL_COLUMNS` and the columns of its cell.
        tested: One row a trial and tested length: `TESTED_COLUMNS`.
        columns: Those that describe a cell.
    """
    choices = dict(_choices(trials))
    accuracies = _accuracies(tested)
    rows, summaries = [], []
    for cell, choice in choices.items():
        by_length = accuracies.get(cell, {})
        for length in sorted({*by_length, *choice.test_lengths}):
            rows.append(choice.row)
            summaries.append(_summary(length, choice, by_length.get(length, ())))
    reached = zip(*summaries, strict=True) if summaries else [[] for _ in _SUMMARY]
    described = trials.select(["sweep", "cell_id", *columns]).take(pa.array(rows, pa.int64()))
    for (name, type_), column in zip(_SUMMARY.items(), reached, strict=True):
        described = described.append_column(name, pa.array(column, type_))
    return described.take(_order(described, columns))


def _choices(trials: pa.Table) -> Iterator[tuple[_Cell, _Choice]]:
    rows = _rows(trials, TRIAL_COLUMNS)
    for cell, numbered in itertools.groupby(enumerate(rows), key=lambda item: item[1][:2]):
        group = list(numbered)
        outcomes = [
            Outcome(lr, seed, status == "done", solved, accuracy, loss)
            for _, (_, _, lr, seed, status, solved, accuracy, loss, *_) in group
        ]
        lr = select_lr(outcomes)
        assert lr is not None
        first_row, first = group[0]
        num_solved = sum(outcome.solved for outcome in outcomes if outcome.lr == lr)
        params = next((row[-2:] for _, row in group if row[-1] is not None), (None, None))  # a failed trial has none
        yield cell, _Choice(first_row, lr, num_solved, first[-3] or (), params)


def _accuracies(tested: pa.Table) -> Mapping[_Cell, Mapping[int, Sequence[tuple[float, float]]]]:
    """The rates and scaled accuracies of each cell and length."""
    found: dict[_Cell, dict[int, list[tuple[float, float]]]] = {}
    for (sweep, cell_id, length), group in itertools.groupby(_rows(tested, TESTED_COLUMNS), key=itemgetter(0, 1, 2)):
        found.setdefault((sweep, cell_id), {})[length] = [row[3:] for row in group]
    return found


def _summary(length: int, choice: _Choice, accuracies: Sequence[tuple[float, float]]) -> _Summary:
    selected = [accuracy for lr, accuracy in accuracies if lr == choice.lr]
    best = max((accuracy for _, accuracy in accuracies), default=None)
    about = (*choice.params, length, choice.lr, len(selected), choice.num_solved)
    if not selected:
        return _Summary(*about, None, None, None, best)
    interval = mean_interval(selected)
    return _Summary(*about, interval.mean, interval.low, interval.high, best)


def _rows(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def _order(cells: pa.Table, columns: Sequence[str]) -> pa.Array:
    """Tasks and tiers in the order of their registries, then by their names, fields, the length and the sweep."""
    ranks = {
        "task_rank": pc.index_in(cells["task"], pa.array(list(TASKS))),
        "tier_rank": pc.index_in(cells["tier"], pa.array(list(MODELS))),
    }
    keys: list[str] = []
    for name in columns:
        keys += [f"{name}_rank"] if f"{name}_rank" in ranks else []
        keys += [name] if not pa.types.is_list(cells[name].type) else []
    keys += ["length", "sweep", "cell_id"]
    table = pa.table({name: ranks[name] if name in ranks else cells[name] for name in keys})
    return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in keys])
