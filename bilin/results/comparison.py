"""Models against tasks: a row for each model, a column for each task or tested length, one number for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilin.errors import QueryError
from bilin.models import MODELS
from bilin.results.result_table import MISSING, Column, Estimate, ResultTable, readable
from bilin.results.schema import field_info, fields_in
from bilin.results.sql.query import query

VALUES: Mapping[str, str] = {
    "mean": "mean accuracy at the selected learning rate, scaled so that chance is 0",
    "low": "lower end of the mean accuracy's 95 % interval, scaled so that chance is 0",
    "high": "upper end of the mean accuracy's 95 % interval, scaled so that chance is 0",
    "best": "best accuracy of any learning rate and seed, scaled so that chance is 0",
    "lr": "selected learning rate",
    "num_seeds": "seeds tested at the selected learning rate",
    "num_solved": "seeds solved at the selected learning rate",
}
"""What a table can show: columns of the view `cells`, and what they are."""

BY = ("task", "length")
"""What the columns of a table are for people: all tasks at one length each, or all lengths of one task."""

_ACCURACIES = ("mean", "low", "high", "best")

_Cell = Mapping[str, Any]


def table(
    store: Path | str,
    *,
    sweep: str | None = None,
    length: int | None = None,
    by: str = "task",
    value: str = "mean",
    everything: bool = False,
) -> ResultTable:
    """Return models against tasks, or against tested lengths, from the view `cells`.

    Args:
        store: Directory of the store.
        sweep: The sweep to look at; None looks at all.
        length: The tested length; None takes the greatest of each task, or by length all.
        by: One of `BY`.
        value: One of `VALUES`.
        everything: Include rows that the grid as last launched does not want.

    Raises:
        QueryError: There is no such value, length or kind of column.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    for given, accepted, what in ((value, VALUES, "value"), (by, BY, "kind of column")):
        if given not in accepted:
            raise QueryError(f"no {what} {given!r}; accepted: {', '.join(accepted)}")
    stored = query(store=store, view="cells", sweep=sweep, everything=everything)
    every = stored.to_pylist()
    lengths = _lengths(every, length, only_greatest=by == "task")
    cells = [cell for cell in every if cell["length"] in lengths.get(cell["task"], ())]
    placed = _place(cells, stored.schema)
    order: dict[str, tuple[Any, ...]] = {}
    for place, cell in placed.items():
        order.setdefault(place.model, _model_order(cell, stored.schema))
    models = sorted(order, key=order.__getitem__)
    num_seeds = {cell["num_seeds"] for cell in cells if cell["num_seeds"]}

    arrays, columns = {"model": pa.array(models, pa.string())}, [Column(heading="model", section=None)]
    type_ = pa.int64() if value.startswith("num_") else pa.float64()
    for task, name, at in dict.fromkeys((place.task, cell["task"], place.length) for place, cell in placed.items()):
        column = [placed.get(_Place(model, task, at)) for model in models]
        arrays[f"{task}, length {at}"] = pa.array([cell and cell[value] for cell in column], type_)
        estimates = [cell and _estimate(cell, value, with_seeds=len(num_seeds) > 1) for cell in column]
        columns.append(
            Column(
                heading=task.removeprefix(f"{name} ") if by == "task" else str(at),
                section=f"{name}, length {at}" if by == "task" else task,
                missing=MISSING,
                values=estimates if value in _ACCURACIES else None,
            )
        )
    note = _note(value, num_seeds) if cells else "nothing is stored yet"
    return ResultTable(data=pa.table(arrays), columns=columns, note=note)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a cell stands in the table: by the labels of its model and task, and its tested length."""

    model: str
    task: str
    length: int


def _place(cells: Sequence[_Cell], schema: pa.Schema) -> Mapping[_Place, _Cell]:
    """Place each row of the view `cells`. Models with one label, which differ in their validation, get their ids."""
    models = _labels(cells, "tier", schema, shared=[*fields_in(schema, "train"), "sweep"])
    tasks = _labels(cells, "task", schema)
    ids = defaultdict(set)
    for cell, model, task in zip(cells, models, tasks, strict=True):
        ids[model, task].add(cell["cell_id"])
    return {
        _Place(model if len(ids[model, task]) == 1 else f"{model} {cell['cell_id']}", task, cell["length"]): cell
        for cell, model, task in zip(cells, models, tasks, strict=True)
    }


def _estimate(cell: _Cell, value: str, *, with_seeds: bool) -> Estimate:
    half_interval = (cell["high"] - cell["low"]) / 2 if value == "mean" and cell["low"] is not None else None
    return Estimate(cell[value], half_interval, cell["num_seeds"] if with_seeds else None)


def _note(value: str, num_seeds: Collection[int]) -> str:
    if value != "mean" or not num_seeds:
        return VALUES[value]
    if set(num_seeds) == {1}:
        return f"{VALUES['mean']}; one seed"
    seeds = "the seeds in brackets" if len(num_seeds) > 1 else f"{min(num_seeds)} seeds"
    return f"{VALUES['mean']}; ± half the 95 % interval over {seeds}"


def _lengths(cells: Sequence[_Cell], length: int | None, *, only_greatest: bool) -> Mapping[str, Collection[int]]:
    """Return the lengths to show of each task."""
    tested: dict[str, set[int]] = defaultdict(set)
    for cell in cells:
        tested[cell["task"]].add(cell["length"])
    if length is None:
        return {task: {max(lengths)} if only_greatest else lengths for task, lengths in tested.items()}
    if cells and not any(length in lengths for lengths in tested.values()):
        known = ", ".join(map(str, sorted(set().union(*tested.values()))))
        raise QueryError(f"no trial was tested at length {length}; tested: {known}")
    return {task: {length} for task, lengths in tested.items() if length in lengths}


def _model_order(cell: _Cell, schema: pa.Schema) -> tuple[Any, ...]:
    """Sort models by tier, in the order of the registry and others by name, then by their fields."""
    tiers = list(MODELS)
    rank = tiers.index(cell["tier"]) if cell["tier"] in tiers else len(tiers)
    names = [*fields_in(schema, "tier", "train"), "sweep", "cell_id"]
    return (rank, cell["tier"], *((cell[name] is None, cell[name]) for name in names))


def _labels(cells: Sequence[_Cell], kind: str, schema: pa.Schema, shared: Collection[str] = ()) -> list[str]:
    """Return a short label for the task or tier of each cell, such as ``cp rank=64``.

    It has the fields that must be given, and those that tell apart the cells of one name. A shared field, such as
    one of the training, is in the label only if it varies within one task.
    """
    required = {name: info.required for name in fields_in(schema, kind) if (info := field_info(schema.field(name)))}
    fields = {
        name: [
            *(field for field, names in required.items() if name in names or _varies(group, field)),
            *(field for field in shared if any(_varies(part, field) for part in _grouped(group, "task").values())),
        ]
        for name, group in _grouped(cells, kind).items()
    }
    return [
        " ".join([cell[kind], *(f"{name}={readable(cell[name])}" for name in fields[cell[kind]])]) for cell in cells
    ]


def _grouped(cells: Sequence[_Cell], name: str) -> Mapping[str, list[_Cell]]:
    groups: dict[str, list[_Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell[name]].append(cell)
    return groups


def _varies(cells: Sequence[_Cell], name: str) -> bool:
    return len({str(cell[name]) for cell in cells}) > 1
