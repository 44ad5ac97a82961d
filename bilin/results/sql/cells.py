"""The table `cells`: the results of each cell at the learning rate that it selects."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from bilin.models import MODELS
from bilin.record import RESULT_STATUSES
from bilin.results.origin import HARDWARE, VERSIONS, Origin, mixture
from bilin.results.schema import table_of
from bilin.results.statistics import Statistic, summarize
from bilin.rules import Outcome, select_lr
from bilin.tasks import TASKS


class TrialRow(NamedTuple):
    """What is needed of each trial, besides the columns of its cell. Sorted by the first four columns."""

    sweep: str
    cell_id: str
    lr: float
    seed: int
    status: str
    solved: bool
    validation_accuracy: float | None
    training_loss: float | None
    test_lengths: Sequence[int] | None
    params: int | None
    recurrent_params: int | None
    task_package: str | None
    tier_package: str | None
    torch: str | None
    cpu: str | None
    gpu: str | None

    @property
    def origin(self) -> Origin:
        """The versions and the hardware."""
        return Origin(self.task_package, self.tier_package, self.torch, self.cpu, self.gpu)


class OutcomeRow(NamedTuple):
    """What is needed of each trial to select the learning rate of its cell. Sorted by the first four columns."""

    sweep: str
    cell_id: str
    lr: float
    seed: int
    status: str
    solved: bool
    validation_accuracy: float | None
    training_loss: float | None


class TestedRow(NamedTuple):
    """What is needed of each tested length of a trial. Sorted by the first five columns."""

    sweep: str
    cell_id: str
    length: int
    lr: float
    seed: int
    accuracy_scaled: float


_SUMMARY = pa.schema(
    {
        "params": pa.int64(),
        "recurrent_params": pa.int64(),
        "length": pa.int64(),
        "lr": pa.float64(),
        "num_seeds": pa.int64(),
        "num_solved": pa.int64(),
        "mean": pa.float64(),
        "min": pa.float64(),
        "max": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "best": pa.float64(),
        "seeds": pa.list_(pa.int64()),
        "scores": pa.list_(pa.float64()),
        "mixed": pa.string(),
        "mixed_hardware": pa.string(),
    }
)
"""The columns besides those that describe a cell: see docs/results.md."""

_cell_of = attrgetter("sweep", "cell_id")


def cells_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of the table, given those that describe a cell."""
    return ["sweep", "cell_id", *columns, *_SUMMARY.names]


def selected_table(outcomes: pa.Table) -> pa.Table:
    """Return the sweep, the cell and the selected learning rate of each cell, given the columns of `OutcomeRow`."""
    rows = map(OutcomeRow._make, _values(outcomes, OutcomeRow._fields))
    selected = [
        (*cell, select_lr(Outcome.of(row.lr, row.seed, row) for row in group))
        for cell, group in itertools.groupby(rows, _cell_of)
    ]
    return table_of(selected, pa.schema([("sweep", pa.string()), ("cell_id", pa.string()), ("lr", pa.float64())]))


def cells_table(trials: pa.Table, tested: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return one row per cell and length.

    Args:
        trials: One row per trial: the columns of `TrialRow` and those of its cell.
        tested: One row per trial and tested length: the columns of `TestedRow`.
        columns: Those that describe a cell.
    """
    tested_rows = {
        cell: {length: list(rows) for length, rows in itertools.groupby(cell_rows, attrgetter("length"))}
        for cell, cell_rows in itertools.groupby(map(TestedRow._make, _values(tested, TestedRow._fields)), _cell_of)
    }
    positions, summaries, first = [], [], 0
    for cell, group in itertools.groupby(map(TrialRow._make, _values(trials, TrialRow._fields)), _cell_of):
        rows = list(group)
        of_cell = list(_summaries(rows, tested_rows.get(cell, {})))
        positions += [first] * len(of_cell)  # any trial's row has the columns of the cell
        summaries += of_cell
        first += len(rows)
    cells = trials.select(["sweep", "cell_id", *columns]).take(pa.array(positions, pa.int64()))
    summary = table_of(summaries, _SUMMARY)
    cells = pa.table([*cells.columns, *summary.columns], pa.schema([*cells.schema, *_SUMMARY]))
    return cells.take(_order(cells, columns))


def _summaries(trials: Sequence[TrialRow], tested: Mapping[int, Sequence[TestedRow]]) -> Iterator[tuple[Any, ...]]:
    """Yield a row of `_SUMMARY` for each length of a cell that was tested, or that the grid wants."""
    outcomes = [Outcome.of(trial.lr, trial.seed, trial) for trial in trials]
    lr = select_lr(outcomes)  # None if every trial failed
    num_solved = sum(outcome.solved for outcome in outcomes if outcome.lr == lr)
    counts = ((trial.params, trial.recurrent_params) for trial in trials if trial.recurrent_params is not None)
    params = next(counts, (None, None))  # a failed trial has none
    origins = [trial.origin for trial in trials if trial.status in RESULT_STATUSES]
    mixed = mixture(origins, VERSIONS), mixture(origins, HARDWARE)
    for length in sorted({*tested, *(trials[0].test_lengths or ())}):
        rows = tested.get(length, ())
        seeds = [row.seed for row in rows if row.lr == lr]
        scores = [row.accuracy_scaled for row in rows if row.lr == lr]
        mean, low, high = summarize(scores, Statistic.MEAN_CI) if scores else (None, None, None)
        ends = min(scores, default=None), max(scores, default=None)
        best = max((row.accuracy_scaled for row in rows), default=None)
        yield (*params, length, lr, len(seeds), num_solved, mean, *ends, low, high, best, seeds, scores, *mixed)


def _values(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def _order(cells: pa.Table, columns: Sequence[str]) -> pa.Array:
    """Sort by tasks and tiers, each in the order of its registry and then by name, fields, length and sweep."""
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
