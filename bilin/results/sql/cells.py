"""The table `cells`: the results of each cell at the learning rate, or the point of its search, that it selects."""

from __future__ import annotations

import itertools
import json
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
from bilin.results.store.rows import to_point
from bilin.rules import Outcome, select_point
from bilin.spec import Point
from bilin.tasks import TASKS


class TrialRow(NamedTuple):
    """What is needed of each trial, besides the columns of its cell. Sorted by the first five columns."""

    sweep: str
    cell_id: str
    lr: float
    searched: Sequence[Mapping[str, Any]] | None
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

    @property
    def point(self) -> Point:
        """The point of the trial."""
        return to_point(self.lr, self.searched)


class OutcomeRow(NamedTuple):
    """What is needed of each trial to select the point of its cell. Sorted by the first two columns."""

    sweep: str
    cell_id: str
    trial_id: str
    lr: float
    searched: Sequence[Mapping[str, Any]] | None
    seed: int
    status: str
    solved: bool
    validation_accuracy: float | None
    training_loss: float | None


class TestedRow(NamedTuple):
    """What is needed of each tested length of a trial. Sorted by the first six columns."""

    sweep: str
    cell_id: str
    length: int
    lr: float
    searched: Sequence[Mapping[str, Any]] | None
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
    """Return the sweep and id of each trial at the point that its cell selects, given the columns of `OutcomeRow`."""
    rows = map(OutcomeRow._make, _values(outcomes, OutcomeRow._fields))
    selected: list[tuple[str, str]] = []
    for (sweep, _), group in itertools.groupby(rows, _cell_of):
        of_cell = [(row.trial_id, Outcome.of(to_point(row.lr, row.searched), row.seed, row)) for row in group]
        point = select_point(outcome for _, outcome in of_cell)
        selected += [(sweep, trial_id) for trial_id, outcome in of_cell if outcome.point == point]
    return table_of(selected, pa.schema([("sweep", pa.string()), ("trial_id", pa.string())]))


def cells_table(trials: pa.Table, tested: pa.Table, columns: Sequence[str], waiting: pa.Table) -> pa.Table:
    """Return one row per cell and length.

    Args:
        trials: One row per trial: the columns of `TrialRow` and those of its cell.
        tested: One row per trial and tested length: the columns of `TestedRow`.
        columns: Those that describe a cell.
        waiting: One row per cell without a trial: ``sweep``, ``cell_id``, ``test_lengths`` and ``fields``.
    """
    tested_rows = {
        cell: {length: list(rows) for length, rows in itertools.groupby(cell_rows, attrgetter("length"))}
        for cell, cell_rows in itertools.groupby(map(TestedRow._make, _values(tested, TestedRow._fields)), _cell_of)
    }
    positions, unselected, summaries, first = [], list[bool](), [], 0
    for cell, group in itertools.groupby(map(TrialRow._make, _values(trials, TrialRow._fields)), _cell_of):
        rows = list(group)
        points = [row.point for row in rows]
        selected = select_point(Outcome.of(point, row.seed, row) for point, row in zip(points, rows, strict=True))
        of_cell = list(_summaries(rows, selected, tested_rows.get(cell, {})))
        # any trial's row has the columns of the cell, and one at the selected point the values of the searched fields
        positions += [first + (points.index(selected) if selected else 0)] * len(of_cell)
        unselected += [selected is None] * len(of_cell)
        summaries += of_cell
        first += len(rows)
    cells = trials.select(["sweep", "cell_id", *columns]).take(pa.array(positions, pa.int64()))
    cells = _without_values(cells, unselected)
    summary = table_of(summaries, _SUMMARY)
    cells = pa.table([*cells.columns, *summary.columns], pa.schema([*cells.schema, *_SUMMARY]))
    cells = pa.concat_tables([cells, _waiting_cells(waiting, cells.schema)])
    return cells.take(_order(cells, columns))


def _waiting_cells(waiting: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a row for each tested length of the cells without a trial."""
    nothing = {"num_seeds": 0, "num_solved": 0, "seeds": [], "scores": []}
    texts = {column.name for column in schema if column.type == pa.string()}
    rows = []
    for cell in waiting.to_pylist():
        fields = json.loads(cell["fields"])
        for name in texts.intersection(fields):  # packages may use one name for values of several types
            value = fields[name]
            fields[name] = value if value is None or isinstance(value, str) else json.dumps(value)
        ids = {"sweep": cell["sweep"], "cell_id": cell["cell_id"]}
        rows += [{**fields, **nothing, **ids, "length": length} for length in sorted(cell["test_lengths"])]
    return pa.Table.from_pylist(rows, schema)


def _without_values(cells: pa.Table, unselected: Sequence[bool]) -> pa.Table:
    """Return cells without the values of searched fields where no point is selected."""
    searched = [
        fields or () if none else () for fields, none in zip(cells["searched"].to_pylist(), unselected, strict=True)
    ]
    for name in {field["name"] for fields in searched for field in fields}:
        index, has_none = cells.schema.get_field_index(name), [any(f["name"] == name for f in row) for row in searched]
        cells = cells.set_column(index, cells.schema.field(index), pc.if_else(pa.array(has_none), None, cells[name]))
    return cells


def _summaries(
    trials: Sequence[TrialRow], selected: Point | None, tested: Mapping[int, Sequence[TestedRow]]
) -> Iterator[tuple[Any, ...]]:
    """Yield a row of `_SUMMARY` for each length of a cell that was tested, or that the grid wants.

    The selected point is None if every trial failed.
    """
    lr = selected.lr if selected else None
    at_point = [trial for trial in trials if trial.point == selected]
    num_solved = sum(trial.solved for trial in at_point)
    counts = (
        (trial.params, trial.recurrent_params) for trial in (*at_point, *trials) if trial.recurrent_params is not None
    )
    params = next(counts, (None, None))  # a failed trial has none
    origins = [trial.origin for trial in trials if trial.status in RESULT_STATUSES]
    mixed = mixture(origins, VERSIONS), mixture(origins, HARDWARE)
    for length in sorted({*tested, *(trials[0].test_lengths or ())}):
        rows = tested.get(length, ())
        shown = [row for row in rows if selected and to_point(row.lr, row.searched) == selected]
        seeds, scores = [row.seed for row in shown], [row.accuracy_scaled for row in shown]
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
