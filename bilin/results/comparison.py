"""Models against tasks: a row for each model, a column for each task or tested length, one number for each."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilin.errors import QueryError
from bilin.folder import SweepFolder, store_option
from bilin.models import MODELS
from bilin.results.result_table import MISSING, Column, Estimate, ResultTable, readable
from bilin.results.schema import field_info, fields_in
from bilin.results.sql.query import query
from bilin.results.statistics import DEFAULT_STATISTIC, Statistic, summarize
from bilin.units import plural

VALUES: Mapping[str, str] = {
    "mean": "{number} accuracy at the selected learning rate, scaled so that chance is 0",
    "low": "lower end of the interval of the accuracy over seeds, scaled so that chance is 0 ({stat})",
    "high": "upper end of the interval of the accuracy over seeds, scaled so that chance is 0 ({stat})",
    "best": "best accuracy of any learning rate and seed, scaled so that chance is 0",
    "lr": "selected learning rate",
    "num_seeds": "seeds tested at the selected learning rate",
    "num_solved": "seeds solved at the selected learning rate",
}
"""What a table can show, and what it is. The first three are those of a `Statistic`; all are columns of `cells`."""

BY = ("task", "length")
"""What the columns of a table are for people: all tasks at one length each, or all lengths of one task."""

_OF_STATISTIC = ("mean", "low", "high")
_ACCURACIES = (*_OF_STATISTIC, "best")

_MIXED = "*"
"""Marks an accuracy to which trials of several versions contribute."""

_MAX_MIXTURES = 3

_Cell = Mapping[str, Any]


def table(
    store: Path | str,
    *,
    sweep: str | None = None,
    length: int | None = None,
    by: str = "task",
    value: str = "mean",
    stat: str | None = None,
    everything: bool = False,
) -> ResultTable:
    """Return models against tasks, or against tested lengths, from the view `cells`.

    Without a length, it shows the greatest of each task, or by length all. `stat` is a `Statistic`, by default
    `DEFAULT_STATISTIC`. See `query` for the other arguments.

    For machines, each mean has its interval, the number of its seeds and the seeds in columns of their own.

    Raises:
        QueryError: An argument is not one of those accepted, or no trial was tested at the length.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    for given, accepted, what in ((value, VALUES, "value"), (by, BY, "kind of column"), (stat, Statistic, "statistic")):
        if given is not None and given not in list(accepted):
            raise QueryError(f"no {what} {given!r}; accepted: {', '.join(accepted)}")
    if stat is not None and value not in _OF_STATISTIC:
        raise QueryError(f"the value {value!r} has no statistic; values that have one: {', '.join(_OF_STATISTIC)}")
    statistic = Statistic(stat or DEFAULT_STATISTIC)
    stored = query(store=store, view="cells", sweep=sweep, everything=everything)
    every = stored.to_pylist()
    lengths = _lengths(every, length, only_greatest=by == "task")
    cells = [_with_searched(cell) for cell in every if cell["length"] in lengths.get(cell["task"], ())]
    placed = _place(cells, stored.schema)
    order: dict[str, tuple[Any, ...]] = {}
    for (model, _, _), cell in placed.items():
        order.setdefault(model, _model_order(cell, stored.schema))
    models = sorted(order, key=order.__getitem__)
    num_seeds = {cell["num_seeds"] for cell in cells if cell["num_seeds"]}

    arrays = {"model": pa.array(models, pa.string())}
    columns = [Column(name="model", heading="model", section=None)]
    for task, kind, at in dict.fromkeys((task, cell["task"], at) for (_, task, at), cell in placed.items()):
        name = f"{task}, length {at}"
        column = [placed.get((model, task, at)) for model in models]
        estimates = [
            _estimate(cell, value, statistic, with_seeds=len(num_seeds) > 1) if cell else None for cell in column
        ]
        if value in _ACCURACIES:
            arrays[name] = pa.array([estimate and estimate.value for estimate in estimates], pa.float64())
        else:
            type_ = pa.int64() if value.startswith("num_") else pa.float64()
            arrays[name] = pa.array([cell and cell[value] for cell in column], type_)
        if value == "mean":
            arrays |= _beside_the_mean(name, column, estimates)
        columns.append(
            Column(
                name=name,
                heading=task.removeprefix(f"{kind} ") if by == "task" else str(at),
                section=f"{kind}, length {at}" if by == "task" else task,
                missing=MISSING,
                values=estimates if value in _ACCURACIES else None,
            )
        )
    note = VALUES[value].format(number=statistic.number, stat=statistic) if cells else "nothing is stored yet"
    if value == "mean" and num_seeds:
        note += _note_on_seeds(statistic, num_seeds)
    note += _note_on_mixtures(cells, store, is_marked=value in _ACCURACIES)
    return ResultTable(data=pa.table(arrays), columns=columns, note=note)


def _note_on_seeds(statistic: Statistic, num_seeds: Collection[int]) -> str:
    """Say what a mean has beside it."""
    if num_seeds == {1}:
        return "; one seed"
    seeds = f"{min(num_seeds)} seeds" if len(num_seeds) == 1 else "the seeds, whose number is in parentheses"
    if not statistic.interval:
        return f"; the best of {seeds} ({statistic})"
    mark = "±" if statistic.is_symmetric else "in brackets"
    return f"; {mark} {statistic.interval} of {seeds} ({statistic})"


def _note_on_mixtures(cells: Sequence[_Cell], store: Path | str, *, is_marked: bool) -> str:
    """Say how many cells have trials of several versions, or of different hardware, and what to do."""
    versions = {(cell["sweep"], cell["cell_id"]): cell["mixed"] for cell in cells if cell["mixed"]}
    hardware = {(cell["sweep"], cell["cell_id"]) for cell in cells if cell["mixed_hardware"]}
    note = ""
    if versions:
        texts = list(dict.fromkeys(versions.values()))
        shown = " | ".join(texts[:_MAX_MIXTURES]) + (" | …" if len(texts) > _MAX_MIXTURES else "")
        mark = f"{_MIXED} " if is_marked else ""
        note += f"\n{mark}trials of several versions in {plural(len(versions), 'cell')}: {shown}"
        note += "\nto run those of other versions than the installed ones again:"
        for sweep in sorted({sweep for sweep, _ in versions}):
            grid = SweepFolder(Path(store) / sweep).grid
            note += f"\n  {shlex.join(['bilin', 'sweep', 'launch', str(grid), '--rerun-stale', *store_option(store)])}"
    if hardware:
        note += f"\ntrials of several CPUs or GPUs in {plural(len(hardware), 'cell')}: see mixed_hardware in `cells`"
    return note


def _estimate(cell: _Cell, value: str, statistic: Statistic, *, with_seeds: bool) -> Estimate:
    num_seeds = cell["num_seeds"] if with_seeds else None
    mark = _MIXED if cell["mixed"] else ""
    if value not in _OF_STATISTIC or not cell["scores"]:
        return Estimate(cell.get(value), num_seeds=num_seeds, mark=mark)
    summary = summarize(cell["scores"], statistic)
    if value == "mean":
        return Estimate(*summary, statistic.is_symmetric, num_seeds, mark)
    return Estimate(getattr(summary, value), num_seeds=num_seeds, mark=mark)


def _beside_the_mean(
    name: str, cells: Sequence[_Cell | None], estimates: Sequence[Estimate | None]
) -> Mapping[str, pa.Array]:
    """Return the columns that machines get beside a mean."""
    return {
        f"{name}, low": pa.array([estimate and estimate.low for estimate in estimates], pa.float64()),
        f"{name}, high": pa.array([estimate and estimate.high for estimate in estimates], pa.float64()),
        f"{name}, num_seeds": pa.array([cell and cell["num_seeds"] for cell in cells], pa.int64()),
        f"{name}, seeds": pa.array([cell and cell["seeds"] for cell in cells], pa.list_(pa.int64())),
        f"{name}, mixed": pa.array([cell and cell["mixed"] for cell in cells], pa.string()),
    }


def _place(cells: Sequence[_Cell], schema: pa.Schema) -> Mapping[tuple[str, str, int], _Cell]:
    """Return the cells by the labels of their model and task, and their length.

    Models with one label, which differ in their validation, get their ids.
    """
    models = _labels(cells, "tier", schema, shared=[*fields_in(schema, "train"), "sweep"])
    tasks = _labels(cells, "task", schema)
    ids = defaultdict(set)
    for cell, model, task in zip(cells, models, tasks, strict=True):
        ids[model, task].add(cell["cell_id"])
    return {
        (model if len(ids[model, task]) == 1 else f"{model} {cell['cell_id']}", task, cell["length"]): cell
        for cell, model, task in zip(cells, models, tasks, strict=True)
    }


def _with_searched(cell: _Cell) -> _Cell:
    """Return a cell without the values that it selects for its searched fields: they do not tell models apart."""
    return {**cell, **{field["name"]: "searched" for field in cell["searched"] or ()}}


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
    values = (cell[name] for name in names)
    return (rank, cell["tier"], *((value is None, value == "searched", value) for value in values))


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
