"""The numbers behind each figure, as a table. Its rows are in the order of tasks and models."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilin.errors import QueryError, nearest, unknown
from bilin.fields import fields_of
from bilin.results.schema import fields_in
from bilin.results.sql.open_store import OpenStore
from bilin.results.sql.query import query
from bilin.results.statistics import Statistic, summarize
from bilin.results.tables.layout import at_lengths, labels, model_order, task_order, without_searched
from bilin.tasks import TASKS, task_settings

Row = dict[str, Any]

_NAMES = {"sweep": pa.string(), "task": pa.string(), "model": pa.string(), "tier": pa.string()}
_NUMBER = {"value": pa.float64(), "low": pa.float64(), "high": pa.float64(), "num_seeds": pa.int64()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a figure is about; see `bilin.results.plot`, which has the same arguments."""

    store: Path | str | OpenStore
    sweep: str | None = None
    where: str | None = None
    everything: bool = False
    length: int | None = None
    stat: Statistic
    value: str | None = None
    x: str | None = None

    def cells(self, *, only_greatest: bool) -> tuple[list[Row], pa.Schema]:
        """Return rows of the view `cells`, with labels."""
        stored = self._view("cells")
        cells = at_lengths(stored.to_pylist(), stored.schema, self.length, only_greatest=only_greatest)
        return _labelled(cells, stored.schema), stored.schema

    def trials(self) -> tuple[list[Row], pa.Schema]:
        """Return rows of the view `trials`, with labels."""
        stored = self._view("trials")
        rows = stored.drop_columns(["spec", "traceback", "error"]).to_pylist()
        return _labelled([without_searched(row) for row in rows], stored.schema), stored.schema

    def curves(self) -> dict[tuple[str, str], list[Row]]:
        """Return the evaluations on the training lengths of each trial of a sweep at a selected learning rate."""
        rows = query(
            "SELECT sweep, trial_id, step, loss, accuracy FROM curves JOIN trials USING (sweep, trial_id) "
            "WHERE selected AND length IS NULL ORDER BY step",
            store=self.store,
            sweep=self.sweep,
            everything=self.everything,
        ).to_pylist()
        return _grouped(rows, "sweep", "trial_id")

    def _view(self, view: str) -> Any:
        return query(
            store=self.store, view=view, sweep=self.sweep, where=self.where, everything=self.everything
        ).to_arrow()


def by_length(subject: Subject) -> pa.Table:
    """Return the accuracy of each cell at each tested length, with the training lengths."""
    cells, _ = subject.cells(only_greatest=False)
    rows = [
        {
            **cell,
            **_summary(cell["scores"], subject),
            "train_low": cell["train_lengths"][0],
            "train_high": cell["train_lengths"][1],
        }
        for cell in cells
    ]
    return _table(rows, {"length": pa.int64(), **_NUMBER, "train_low": pa.int64(), "train_high": pa.int64()})


def by_model(subject: Subject) -> pa.Table:
    """Return the accuracy of each cell at one length, and why there is none."""
    cells, _ = subject.cells(only_greatest=True)
    failed = _grouped(replace(subject, where=None).trials()[0], "sweep", "cell_id")
    rows = []
    for cell in cells:
        statuses = {trial["status"] for trial in failed[cell["sweep"], cell["cell_id"]]}
        has_failed = not cell["scores"] and bool(statuses) and statuses.isdisjoint({"done", "pruned"})
        rows.append({**cell, **_summary(cell["scores"], subject), "failed": has_failed})
    return _table(rows, {"length": pa.int64(), **_NUMBER, "failed": pa.bool_()})


def by_rate(subject: Subject) -> pa.Table:
    """Return the validation accuracy at each learning rate; a trial that diverged or failed counts as 0."""
    trials, _ = subject.trials()
    rows = []
    chance = {task: _chance(of_task[0]) for task, of_task in _grouped(trials, "task_label").items()}
    for of_rate in _grouped(trials, "sweep", "cell_id", "lr").values():
        scores = [trial["validation_accuracy"] or 0.0 for trial in of_rate]
        num_lost = sum(trial["status"] not in ("done", "pruned") for trial in of_rate)
        num_pruned = sum(trial["status"] == "pruned" for trial in of_rate)
        is_selected = any(trial["selected"] for trial in of_rate)
        found = {"num_lost": num_lost, "num_pruned": num_pruned, "selected": is_selected}
        rows.append({**of_rate[0], **_summary(scores, subject), **found, "chance": chance[of_rate[0]["task_label"]]})
    counts = {"num_lost": pa.int64(), "num_pruned": pa.int64()}
    types = {**counts, "selected": pa.bool_(), "chance": pa.float64()}
    return _table(rows, {"lr": pa.float64(), **_NUMBER, **types}, sort="lr")


def by_size(subject: Subject) -> pa.Table:
    """Return the accuracy of each cell against a field such as the rank; null for tiers without it."""
    cells, schema = subject.cells(only_greatest=True)
    name = subject.x or next((name for name in ("rank", "block_size", "hidden") if len(_values(cells, name)) > 1), None)
    fields = [field for field in fields_in(schema, "tier", "train") if pa.types.is_integer(schema.field(field).type)]
    fields += ["params", "recurrent_params"]
    if name is None or name not in fields:
        found = "no rank, block size or hidden size that varies"
        found = found if name is None else f"the field {name!r}{nearest(name, fields)}"
        raise QueryError(f"found {found}; accepted for the horizontal axis: {', '.join(fields)}")
    rows = [{**cell, **_summary(cell["scores"], subject), "x": _size(cell, name), "axis": name} for cell in cells]
    curves = _grouped(rows, "sweep", "task_label", "tier", "x")
    if clash := next((rows for (*_, x), rows in curves.items() if x is not None and len(rows) > 1), None):
        both = " and ".join(row["model"] for row in clash[:2])
        raise QueryError(f"{both} have the same {name}: select cells with a condition (--where)")
    return _table(rows, {"axis": pa.string(), "x": pa.float64(), "length": pa.int64(), **_NUMBER}, sort="x")


def by_step(subject: Subject) -> pa.Table:
    """Return the curve of each cell at the selected rate; a seed that ended keeps its last value."""
    value = subject.value or "accuracy"
    if value not in ("accuracy", "loss"):
        raise QueryError(unknown("value", value, ("accuracy", "loss")))
    trials, _ = subject.trials()
    curves = subject.curves()
    drawn = [trial for trial in trials if (trial["sweep"], trial["trial_id"]) in curves]
    rows = []
    for seeds in _grouped(drawn, "sweep", "cell_id").values():
        of_cell = [curves[trial["sweep"], trial["trial_id"]] for trial in seeds]
        found = {"of": value, "chance": _chance(seeds[0]) if value == "accuracy" else None}
        for step in sorted({point["step"] for curve in of_cell for point in curve}):
            ends = [bisect.bisect(curve, step, key=itemgetter("step")) for curve in of_cell]
            scores = [curve[end - 1][value] for curve, end in zip(of_cell, ends, strict=True) if end]
            finite = [score for score in scores if math.isfinite(score)]  # a loss is not, if the trial diverged
            rows.append({**seeds[0], **_summary(finite, subject), "step": step, **found})
    return _table(rows, {"step": pa.int64(), "of": pa.string(), **_NUMBER, "chance": pa.float64()})


def by_tier(subject: Subject) -> pa.Table:
    """Return how much computation the trials of each tier took; a result that sweeps share counts once."""
    trials, _ = subject.trials()
    once = {(trial["trial_id"], trial["started_at"]): trial for trial in trials}
    rows = []
    for of_tier in _grouped(once.values(), "tier").values():
        on_gpu = [trial for trial in of_tier if (trial["device"] or "").startswith("cuda")]
        hours = sum(trial["wall_s"] or 0.0 for trial in of_tier) / 3600
        gpu_hours = sum(trial["wall_s"] or 0.0 for trial in on_gpu) / 3600
        counts = {"num_trials": len(of_tier), "hours": hours, "gpu_hours": gpu_hours}
        rows.append({**of_tier[0], **counts})
    types = {"tier": pa.string(), "num_trials": pa.int64(), "hours": pa.float64(), "gpu_hours": pa.float64()}
    return pa.table({name: pa.array([row[name] for row in rows], type_) for name, type_ in types.items()})


DATA: Mapping[str, Callable[[Subject], pa.Table]] = {
    "length": by_length,
    "heatmap": by_model,
    "lr": by_rate,
    "size": by_size,
    "training": by_step,
    "cost": by_tier,
}
"""The numbers behind each kind of figure."""


def _labelled(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> list[Row]:
    """Return rows with ``model`` and ``task_label``, in the order of tasks and models."""
    by_task, by_model = task_order(schema), model_order(schema)
    cells = {(row["sweep"], row["cell_id"]): row for row in rows}
    order = {key: (by_task(row), by_model(row)) for key, row in cells.items()}
    in_order = sorted(rows, key=lambda row: order[row["sweep"], row["cell_id"]])
    pairs = zip(in_order, labels(in_order, schema), strict=True)
    return [{**row, "model": model, "task_label": task} for row, (model, task) in pairs]


def _chance(row: Row) -> float | None:
    """Return the accuracy that guessing has; None if a sequence has several answers, or the task is not bilin's own."""
    if row["task"] not in TASKS:
        return None
    settings = task_settings(row["task"])
    task = settings(**{name: row[name] for name in fields_of(settings)})
    return None if task.own_supervision else 1 / task.num_classes


def _summary(scores: Sequence[float], subject: Subject) -> Row:
    if not scores:
        return {"value": None, "low": None, "high": None, "num_seeds": 0}
    return {**summarize(scores, subject.stat)._asdict(), "num_seeds": len(scores)}


def _table(rows: Sequence[Row], types: Mapping[str, pa.DataType], sort: str | None = None) -> pa.Table:
    """Return rows as a table, with the label of the task as ``task``."""
    if sort is not None:
        groups = _grouped(rows, "sweep", "task_label", "model" if sort != "x" else "tier").values()
        key = itertools.chain.from_iterable(
            sorted(group, key=lambda row: (row[sort] is None, row[sort])) for group in groups
        )
        rows = list(key)
    names = {"task": "task_label"}
    columns = {**_NAMES, **types}
    return pa.table({name: pa.array([row[names.get(name, name)] for row in rows], of) for name, of in columns.items()})


def _grouped(rows: Iterable[Row], *names: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        key = tuple(row[name] for name in names)
        groups[key[0] if len(names) == 1 else key].append(row)
    return groups


def _values(cells: Sequence[Row], name: str) -> set[Any]:
    return {cell[name] for cell in cells} - {None}


def _size(cell: Row, name: str) -> float | None:
    return None if cell[name] is None or isinstance(cell[name], str) else float(cell[name])
