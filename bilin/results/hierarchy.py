"""The hierarchy at a glance: a row for each model, a column for each task or tested length, one number for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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

BY = ("task", "length")
"""What the columns of a table for people are: the tasks at one length each, or the lengths of one task."""

_MISSING = "–"  # noqa: RUF001 (a dash, as in printed tables)


class Column(NamedTuple):
    """What is shown of the models: one task at one tested length.

    Attributes:
        task: A label, such as ``modular_addition m=5``.
        section: Heading of the table for people that it stands in; ``heading`` its own.
    """

    task: str
    length: int
    section: str
    heading: str

    def __str__(self) -> str:
        return f"{self.task}, length {self.length}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Models against tasks and tested lengths.

    Attributes:
        value: The column of `cells` that is shown.
        models: Labels of the rows.
        columns: What is shown of each.
        cells: The row of the view `cells` by the label of the model, that of the task and the length; none where
            nothing is stored.
    """

    value: str
    models: Sequence[str]
    columns: Sequence[Column]
    cells: Mapping[tuple[str, str, int], Mapping[str, Any]]

    def numbers(self) -> pa.Table:
        """The values as they are stored, null where there are none; each column says its task and length."""
        type_ = pa.int64() if self.value.startswith("num_") else pa.float64()
        columns = [
            pa.array([cell and cell[self.value] for cell in self._cells_of(column, self.models)], type_)
            for column in self.columns
        ]
        return pa.table([pa.array(self.models, pa.string()), *columns], names=["model", *map(str, self.columns)])

    def texts(self) -> Mapping[str, pa.Table]:
        """The values for people: tables by their headings."""
        sections: dict[str, list[Column]] = {}
        for column in self.columns:
            sections.setdefault(column.section, []).append(column)
        return {section: self._texts_of(columns) for section, columns in sections.items()}

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

    def _cells_of(self, column: Column, models: Sequence[str]) -> list[Mapping[str, Any] | None]:
        return [self.cells.get((model, column.task, column.length)) for model in models]

    def _texts_of(self, columns: Sequence[Column]) -> pa.Table:
        models = [model for model in self.models if any(self._cells_of(column, [model])[0] for column in columns)]
        count = len(self._seeds) > 1
        texts = [[self._text(cell, count=count) for cell in self._cells_of(column, models)] for column in columns]
        headings = [column.heading for column in columns]
        return pa.table([pa.array(text, pa.string()) for text in (models, *texts)], names=["model", *headings])

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
    by: str = "task",
    value: str = "mean",
    everything: bool = False,
) -> Hierarchy:
    """Models against tasks, or against tested lengths, from the view `cells`.

    Args:
        store: Directory of the store.
        sweep: The one sweep to look at; None looks at all.
        length: The tested length; None takes the greatest of each task, or by length all.
        by: One of `BY`.
        value: One of `VALUES`.
        everything: Also rows that the grid as it was last launched does not want.

    Raises:
        QueryError: There is no such value, length or kind of column.
        StoreError: The store or sweep is not there, or cannot be read.
    """
    for asked, known, what in ((value, VALUES, "value"), (by, BY, "kind of column")):
        if asked not in known:
            raise QueryError(f"there is no {what} {asked!r}; there: {', '.join(known)}")
    found = query(store=store, view="cells", sweep=sweep, everything=everything)
    rows, schema = found.to_pylist(), found.schema
    lengths = _lengths(rows, length, only_greatest=by == "task")
    shown = [row for row in rows if row["length"] in lengths.get(row["task"], ())]
    labelled = list(zip(shown, model_labels(shown, schema), task_labels(shown, schema), strict=True))
    of_label: dict[tuple[str, str], set[str]] = {}
    for row, model, task in labelled:
        of_label.setdefault((model, task), set()).add(row["cell_id"])
    cells: dict[tuple[str, str, int], Mapping[str, Any]] = {}
    order: dict[str, Any] = {}
    columns: dict[Column, None] = {}
    for row, model, task in labelled:
        at = row["length"]
        # cells that differ in their validation alone have one label: their ids tell them apart
        label = model if len(of_label[model, task]) == 1 else f"{model} {row['cell_id']}"
        cells[label, task, at] = row
        order.setdefault(label, model_order(row, schema))
        columns.setdefault(_column(row["task"], task, at, by=by))
    return Hierarchy(value=value, models=sorted(order, key=order.__getitem__), columns=list(columns), cells=cells)


def _column(name: str, label: str, length: int, *, by: str) -> Column:
    if by == "length":
        return Column(label, length, section=label, heading=str(length))
    return Column(label, length, section=f"{name}, length {length}", heading=label.removeprefix(f"{name} "))


def _lengths(
    rows: Sequence[Mapping[str, Any]], length: int | None, *, only_greatest: bool
) -> Mapping[str, Collection[int]]:
    """The lengths to show of each task."""
    tested: dict[str, set[int]] = {}
    for row in rows:
        tested.setdefault(row["task"], set()).add(row["length"])
    if length is None:
        return {task: {max(at)} if only_greatest else at for task, at in tested.items()}
    if rows and not any(length in at for at in tested.values()):
        there = ", ".join(str(at) for at in sorted(set().union(*tested.values())))
        raise QueryError(f"nothing is tested at length {length}; tested: {there}")
    return {task: {length} for task, at in tested.items() if length in at}


def _two_digits(number: float) -> str:
    text = f"{min(number, 0.99) if number < 1 else number:.2f}"  # 1.00 says that all were right
    return "0.00" if text == "-0.00" else text
