"""Trials as other tools take them: each with its labels, its curve and its tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from bilin.errors import QueryError
from bilin.results.rows import Rows
from bilin.results.schema import cell_columns
from bilin.results.sql.open_store import OpenStore, at_one_moment
from bilin.results.sql.query import query
from bilin.results.tables.layout import labels, model_order, task_order, without_searched

_UNUSED = ("spec", "traceback", "searched", "threads", "pid", "pack", "schema_version", "test_s", "rungs")

Row = Mapping[str, Any]

_Id = tuple[str, str]
"""The sweep and the id of a trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedTrial:
    """One trial.

    Attributes:
        task: The label of its task, as in tables.
        model: The label of its model.
        point: Its learning rate, and the values of its searched fields.
        cell: The fields of its cell that apply, without those that are searched.
        row: Its row in the view `trials`.
        curve: Its evaluations in the order of their steps: ``step``, ``length``, ``loss`` and ``accuracy``.
        tests: The scaled accuracy at each tested length.
    """

    task: str
    model: str
    point: Mapping[str, float]
    cell: Row
    row: Row
    curve: Sequence[Row]
    tests: Mapping[int, float]

    @property
    def cell_id(self) -> tuple[str, str]:
        """The sweep and the id of its cell."""
        return self.row["sweep"], self.row["cell_id"]

    def lowest_by_step(self) -> dict[int, float]:
        """Return the lowest accuracy over all lengths at each evaluation: at the last, the validation accuracy."""
        lowest: dict[int, float] = {}
        for point in self.curve:
            lowest[point["step"]] = min(point["accuracy"], lowest.get(point["step"], 1.0))
        return lowest

    def facts(self) -> dict[str, Any]:
        """Return the columns of the row that are no fields, as plain values, without those that are null."""
        left_out = {*self.cell, *self.point, *_UNUSED}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in self.row.items()
            if name not in left_out and value is not None
        }


def read_trials(store: Path | str, *, sweep: str | None, where: str | None, everything: bool) -> list[ExportedTrial]:
    """Return trials in the order of their tasks and models.

    Raises:
        QueryError: The condition is not valid, or no trial meets it.
        StoreError: The store or sweep does not exist, or cannot be read.
    """

    def ask(opened: OpenStore) -> tuple[Rows, Mapping[_Id, Sequence[Row]], Mapping[_Id, Sequence[Row]]]:
        of_trials = partial(_by_trial, store=opened, sweep=sweep, everything=everything)
        return (
            query(store=opened, view="trials", sweep=sweep, where=where, everything=everything),
            of_trials("step, length, loss, accuracy FROM curves", "step, length NULLS FIRST"),
            of_trials("length, accuracy_scaled FROM lengths", "length"),
        )

    stored, curves, tests = at_one_moment(store, ask, sweeps=[sweep] if sweep else (), curves=True)
    if not stored.num_rows:
        found = "no trial is stored yet" if where is None else f"no trial meets {where!r}"
        raise QueryError(f"nothing to export: {found}; `bilin results query --view trials` shows what there is")
    schema = stored.schema
    rows = [(row, without_searched(row)) for row in stored.to_pylist()]
    by_task, by_model = task_order(schema), model_order(schema)
    rows.sort(key=lambda pair: (by_task(pair[1]), by_model(pair[1])))
    fields = cell_columns(schema)
    names = labels([labelled for _, labelled in rows], schema)
    return [
        ExportedTrial(
            task=task,
            model=model,
            point=(point := {"lr": row["lr"], **{each["name"]: each["value"] for each in row["searched"] or ()}}),
            cell={name: row[name] for name in fields if row[name] is not None and name not in ("searched", *point)},
            row=row,
            curve=curves[row["sweep"], row["trial_id"]],
            tests={test["length"]: test["accuracy_scaled"] for test in tests[row["sweep"], row["trial_id"]]},
        )
        for (row, _), (model, task) in zip(rows, names, strict=True)
    ]


def by_cell(trials: Sequence[ExportedTrial]) -> Iterator[list[ExportedTrial]]:
    """Yield the trials of each cell."""
    groups: dict[tuple[str, str], list[ExportedTrial]] = defaultdict(list)
    for trial in trials:
        groups[trial.cell_id].append(trial)
    yield from groups.values()


def _by_trial(
    what: str, order: str, *, store: OpenStore, sweep: str | None, everything: bool
) -> Mapping[_Id, Sequence[Row]]:
    found: dict[_Id, list[Row]] = defaultdict(list)
    sql = f"SELECT sweep, trial_id, {what} ORDER BY {order}"
    for row in query(sql, store=store, sweep=sweep, everything=everything).to_pylist():
        found[row["sweep"], row["trial_id"]].append(row)
    return found
