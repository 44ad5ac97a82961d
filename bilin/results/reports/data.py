"""The data that the page's scripts draw: trials, selected learning rates, and the numbers behind each figure."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bilin.errors import QueryError
from bilin.results.figures.looks import looks
from bilin.results.figures.plot import figure_data
from bilin.results.result_table import is_number, readable
from bilin.results.sql.open_store import OpenStore
from bilin.results.sql.query import brief, query

_SIGNIFICANT_DIGITS = 5
_MAX_LENGTHS = 8
_MAX_POINTS = 20_000
"""Points of one figure: of longer curves, some are left out."""

_SCALED = "scaled accuracy"
_BAND = "The band is the interval over the seeds."
_CURVES = f"On the training lengths, at the selected learning rate. {_BAND} A seed that ended keeps its last value."

_FIGURES: Mapping[str, tuple[str, str | None, Mapping[str, str]]] = {
    "length": ("length", None, {
        "title": "Accuracy by length", "x": "length", "x_label": "length", "y_label": _SCALED,
        "note": f"At the selected learning rate, scaled so that chance is 0. {_BAND} Training lengths are shaded.",
    }),
    "heatmap": ("heatmap", None, {
        "title": "Models by tasks",
        "note": "Scaled accuracy at the longest tested length. Hatched: no result yet. ×: every trial failed.",  # noqa: RUF001
    }),
    "size": ("size", None, {
        "title": "Accuracy by {axis}", "x": "x", "x_label": "{axis}", "y_label": _SCALED, "line": "tier",
        "note": f"At the longest tested length. {_BAND} A tier without this field is a level line.",
    }),
    "lr": ("lr", None, {
        "title": "Learning rates", "x": "lr", "x_label": "learning rate", "y_label": "validation accuracy",
        "note": f"{_BAND} A ring marks the selected rate. A cross marks a rate at which trials diverged or failed, "
        "which count as 0.",
    }),
    "training-accuracy": ("training", "accuracy", {
        "title": "Training accuracy", "x": "step", "x_label": "step", "y_label": "training accuracy", "note": _CURVES,
    }),
    "training-loss": ("training", "loss", {
        "title": "Training loss", "x": "step", "x_label": "step", "y_label": "training loss", "note": _CURVES,
    }),
    "cost": ("cost", None, {
        "title": "Computation", "line": "tier",
        "note": "Time of all trials of a tier, with their number and mean time. A trial in a pack has its share.",
    }),
}  # fmt: skip
"""The kind, the value and the texts of each figure, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which results the page is about: the arguments of `report`, with the sweeps as they are at one moment."""

    store: OpenStore
    stat: str | None
    everything: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure: what it shows, and its numbers.

    Attributes:
        kind: The kind in `bilin.results.plot`.
        x: The column of the horizontal axis.
        x_label: The text below it.
        y_label: The text beside the vertical axis.
        line: The column that tells lines apart.
    """

    name: str
    kind: str
    data: pa.Table
    title: str
    note: str
    x: str = ""
    x_label: str = ""
    y_label: str = ""
    line: str = "model"

    def document(self) -> dict[str, Any]:
        """Return what the scripts need to draw it."""
        pairs = zip(self.data["tier"].to_pylist(), self.data[self.line].to_pylist(), strict=True)
        return {
            "kind": self.kind,
            "x": self.x,
            "xLabel": self.x_label,
            "yLabel": self.y_label,
            "line": self.line,
            "isLog": self.kind != "training",
            "isShare": "loss" not in self.y_label,
            "looks": {model: look._asdict() for model, look in looks(pairs).items()},
            "table": columns(self.data),
        }


def figures(selection: Selection) -> Iterator[Figure]:
    """Yield the figures for which there are results."""
    for name, (kind, value, look) in _FIGURES.items():
        data = numbers(selection, kind, value=value)
        if data is not None and (kind in ("heatmap", "cost") or data["value"].null_count < data.num_rows):
            axis = data["axis"][0].as_py().replace("_", " ") if kind == "size" else ""
            texts = {key: text.format(axis=axis) for key, text in look.items()}
            yield Figure(name=name, kind=kind, data=thinned(data) if kind == "training" else data, **texts)


def numbers(selection: Selection, kind: str, *, value: str | None = None) -> pa.Table | None:
    """Return the numbers behind a figure; None if there is nothing to draw."""
    everything = selection.everything
    try:
        return figure_data(kind, selection.store, stat=selection.stat, value=value, everything=everything)
    except QueryError:
        return None


def thinned(data: pa.Table, max_points: int = _MAX_POINTS) -> pa.Table:
    """Return curves with as many points as a figure has room for: every n-th, and the last of each curve."""
    every = -(-data.num_rows // max_points)
    keys = list(zip(*(data[name].to_pylist() for name in ("sweep", "task", "model")), strict=True))
    kept, position = [], 0
    for index, key in enumerate(keys):
        is_last = index + 1 == len(keys) or keys[index + 1] != key
        kept.append(is_last or position % every == 0)
        position = 0 if is_last else position + 1
    return data.filter(pa.array(kept))


def trials(selection: Selection) -> pa.Table:
    """Return every column of the trials."""
    return query(store=selection.store, view="trials", everything=selection.everything).to_arrow()


def shown_trials(selection: Selection, rows: pa.Table) -> pa.Table:
    """Return the columns of trials that vary or matter, and the accuracy at each tested length."""
    found: dict[int, dict[tuple[str, str], float]] = defaultdict(dict)
    tests = query(
        "SELECT sweep, trial_id, length, accuracy_scaled FROM lengths",
        store=selection.store,
        everything=selection.everything,
    ).to_pylist()
    for row in tests:
        found[row["length"]][row["sweep"], row["trial_id"]] = row["accuracy_scaled"]
    fields = [name for name in brief(rows).column_names if name not in ("trial_id", "searched")]
    order = fields[: fields.index("seed") + 1]
    rows = rows.sort_by([(name, "ascending") for name in order if not pa.types.is_nested(rows[name].type)])
    shown = brief(rows)
    keys = list(zip(rows["sweep"].to_pylist(), rows["trial_id"].to_pylist(), strict=True))
    at = shown.column_names.index("status") + 1
    for length in reversed(sorted(found)[-_MAX_LENGTHS:]):
        values = pa.array([found[length].get(key) for key in keys], pa.float64())
        shown = shown.add_column(at, f"accuracy_scaled@{length}", values)
    names = [name for name in shown.column_names if name != "error"]
    return shown.select([*names, "error"] if "error" in shown.column_names else names)


def choices(rates: pa.Table) -> pa.Table:
    """Return the learning rate that each cell selects, given the numbers of the figure `lr`."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rates.to_pylist():
        groups[row["sweep"], row["task"], row["model"]].append(row)
    found = []
    for (sweep, task, model), rows in groups.items():
        tried = sorted({row["lr"] for row in rows})
        chosen = next((row for row in rows if row["selected"]), None)
        selected = chosen["lr"] if chosen else None
        edge = "lowest" if selected == tried[0] else "highest" if selected == tried[-1] else ""
        found.append({
            "sweep": sweep, "task": task, "model": model, "selected": selected,
            "validation accuracy": chosen["value"] if chosen else None,
            "seeds": chosen["num_seeds"] if chosen else None,
            "rates tried": len(tried), "lowest": tried[0], "highest": tried[-1],
            "selected is": edge if len(tried) > 1 or chosen is None else "the only one",
            "diverged or failed": sum(row["num_lost"] for row in rows),
            "pruned": sum(row["num_pruned"] for row in rows),
        })  # fmt: skip
    table = pa.Table.from_pylist(found)
    return table if len(set(table["sweep"].to_pylist())) > 1 else table.drop_columns(["sweep"])


def columns(table: pa.Table) -> dict[str, Any]:
    """Return a table for the scripts: numbers as they are, and of any other column each value once with its codes."""
    return {
        "numRows": table.num_rows,
        "columns": [
            {"name": name, "numbers": _numbers_of(column)}
            if is_number(column.type)
            else {"name": name, **_coded(column)}
            for name, column in zip(table.column_names, table.columns, strict=True)
        ],
    }


def _numbers_of(column: pa.ChunkedArray) -> list[Any]:
    """Return numbers with as many digits as people see; null for NaN and infinities."""
    if not pa.types.is_floating(column.type):
        return list(column.to_pylist())
    return [
        None if value is None or not math.isfinite(value) else float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
        for value in column.to_pylist()
    ]


def _coded(column: pa.ChunkedArray) -> dict[str, Any]:
    texts = column if pa.types.is_string(column.type) else pa.chunked_array([
        [None if value is None else readable(value) for value in column.to_pylist()]
    ], pa.string())  # fmt: skip
    coded = texts.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    codes = pc.fill_null(coded.indices, -1).to_pylist()
    return {"values": coded.dictionary.to_pylist(), "codes": codes}


def packed(document: Mapping[str, Any]) -> str:
    """Return a document as compressed JSON in base64: a page for 10,000 trials stays small enough for a mail."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
