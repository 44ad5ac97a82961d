"""The hierarchy at a glance: a row for each model, a column for each task, one number for each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilin.errors import QueryError
from bilin.results.labels import model_labels, model_order, task_labels
from bilin.results.sql import query

VALUES: Mapping[str, str] = {
    "mean": "mean accuracy at the selected learning rate, scaled so that chance is 0",
    "low": "lower end of the mean accuracy's 95 % interval, scaled so that chance is 0",
    "high": "upper end of the mean accuracy's 95 % interval, scaled so that chance is 0",
    "best": "best accuracy of any learning rate and seed, scaled so that chance is 0",
    "lr": "selected learning rate",
    "num_seeds": "seeds tested at the selected learning rate",
    "num_solved": "seeds solved at the selected learning rate",
}
"""What a table can show of each cell: columns of the view `cells`, and what they are."""

_MISSING = "–"  # noqa: RUF001 (a dash, as in printed tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Models against tasks.

    Attributes:
        value: The column of `cells` that is shown.
        lengths: The tested length that is shown of each task.
        models: Labels of the rows; ``tasks`` those of the columns.
        cells: The row of the view `cells` by the labels of model and task; none where nothing is stored.
    """

    value: str
    lengths: Mapping[str, int]
    models: Sequence[str]
    tasks: Sequence[str]
    cells: Mapping[tuple[str, str], Mapping[str, Any]]

    def numbers(self) -> pa.Table:
        """The values as they are stored, null where there are none."""
        type_ = pa.int64() if self.value.startswith("num_") else pa.float64()
        columns = [
            [cell and cell[self.value] for cell in (self.cells.get((model, task)) for model in self.models)]
            for task in self.tasks
        ]
        arrays = [pa.array(self.models, pa.string()), *(pa.array(column, type_) for column in columns)]
        return pa.table(arrays, names=["model", *self.tasks])

    def texts(self) -> Mapping[str, pa.Table]:
        """The values for people: a table for each task, by its heading."""
        return {f"{task}, length {length}": self._texts_of(task) for task, length in self.lengths.items()}

    @property
    def caption(self) -> str:
        """What the numbers are, in one line."""
        if not self.cells:
            return "nothing is stored yet"
        seeds = self._seeds
        if self.value != "mean" or not seeds:
            return VALUES[self.value]
        if seeds == {1}:
            return f"{VALUES['mean']}; one seed"
        counted = "the seeds in brackets" if len(seeds) > 1 else f"{min(seeds)} seeds"
        return f"{VALUES['mean']}; ± half the 95 % interval over {counted}"

    @property
    def _seeds(self) -> set[int]:
        return {cell["num_seeds"] for cell in self.cells.values() if cell["num_seeds"]}

    def _texts_of(self, task: str) -> pa.Table:
        labels = [label for label in self.tasks if label.split(" ")[0] == task]
        models = [model for model in self.models if any((model, label) in self.cells for label in labels)]
        count = len(self._seeds) > 1
        columns = [[self._text(self.cells.get((model, label)), count=count) for model in models] for label in labels]
        headings = [label.partition(" ")[2] or task for label in labels]
        return pa.table([pa.array(column, pa.string()) for column in (models, *columns)], names=["model", *headings])

    def _text(self, cell: Mapping[str, Any] | None, *, count: bool) -> str:
        if cell is None or cell[self.value] is None:
            return _MISSING
        if self.value in ("lr", "num_seeds", "num_solved"):
            return f"{cell[self.value]:g}"
        text = _two_digits(cell[self.value])
        if self.value == "mean" and cell["low"] is not None:
            text += f" ± {_two_digits((cell['high'] - cell['low']) / 2)}"
        return f"{text} ({cell['num_seeds']})" if count else text


def hierarchy(
    store: Path | str,
    *,
    sweep: str | None = None,
    length: int | None = None,
    value: str = "mean",
    everything: bool = False,
) -> Hierarchy:
    """Models against tasks, from the view `cells`.

    Args:
        store: Directory of the store.
        sweep: The one sweep to look at; None looks at all.
        length: The tested length; None takes the greatest of each task.
        value: One of `VALUES`.
        everything: Also rows that the grid as it was last launched does not want.

    Raises:
        QueryError: There is no such value or length.
        StoreError: The store or sweep is not there, or cannot be read.
    """
    if value not in VALUES:
        raise QueryError(f"there is no value {value!r}; there: {', '.join(VALUES)}")
    found = query(store=store, view="cells", sweep=sweep, everything=everything)
    rows, schema = found.to_pylist(), found.schema
    lengths = _lengths(rows, length)
    shown = [row for row in rows if row["length"] == lengths.get(row["task"])]
    models, tasks = model_labels(shown, schema), task_labels(shown, schema)
    cells: dict[tuple[str, str], Mapping[str, Any]] = {}
    order: dict[str, Any] = {}
    for row, model, task in zip(shown, models, tasks, strict=True):
        # cells that differ in their validation alone have one label
        label = model if (model, task) not in cells else f"{model} {row['cell_id']}"
        cells[label, task] = row
        order.setdefault(label, model_order(row, schema))
    return Hierarchy(
        value=value, lengths=lengths, models=sorted(order, key=order.__getitem__), tasks=list(dict.fromkeys(tasks)),
        cells=cells,
    )  # fmt: skip


def _lengths(rows: Sequence[Mapping[str, Any]], length: int | None) -> Mapping[str, int]:
    """The length to show of each task."""
    tested = {(row["task"], row["length"]) for row in rows}
    if length is None:
        return {
            task: max(at for name, at in tested if name == task) for task in dict.fromkeys(row["task"] for row in rows)
        }
    found = {task: length for task, at in tested if at == length}
    if rows and not found:
        there = ", ".join(str(at) for at in sorted({at for _, at in tested}))
        raise QueryError(f"nothing is tested at length {length}; tested: {there}")
    return found


def _two_digits(number: float) -> str:
    text = f"{min(number, 0.99) if number < 1 else number:.2f}"  # 1.00 says that all were right
    return "0.00" if text == "-0.00" else text
