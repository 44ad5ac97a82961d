"""Figures of characters, for a terminal. They need no other package."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from bilin.results.result_table import MISSING, Estimate
from bilin.units import duration

LEAST_COLUMNS = 40

_ROWS = 13
_LEFT = 7
"""Columns of the labels at the left of a panel."""

_AXES = {"length": "length", "lr": "learning rate", "step": "step"}
"""The names of the horizontal axes."""

_SELECTED, _LOST, _PRUNED = "°", "×", "!"  # noqa: RUF001
_MARKS = {_SELECTED: "selected", _LOST: "some trials diverged or failed", _PRUNED: "stopped early by a pruner"}
_MARKED = 2
"""The marks beside a point, and how many there can be."""

_LETTERS = string.ascii_lowercase + string.ascii_uppercase

Row = dict[str, Any]


def _lines(data: pa.Table, columns: int, *, x: str, is_log: bool, y: str = "scaled accuracy") -> str:
    """Draw a panel for each task, in which each line is a letter; ``*`` stands for several.

    An axis with a value that is not positive is linear. A tier without the size on it is a level line.
    """
    rows = [row for row in data.to_pylist() if row["value"] is not None]
    if x == "x":
        rows = [{**row, "model": row["model" if row["x"] is None else "tier"]} for row in rows]
    models = list(dict.fromkeys(row["model"] for row in rows))
    letters = dict(zip(models, _LETTERS * (1 + len(models) // len(_LETTERS)), strict=False))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    axis = data["axis"][0].as_py() if x == "x" else _AXES[x]
    axes = (axis, f"training {data['of'][0].as_py()}" if x == "step" else y)
    panels = [
        f"{task}\n{_panel([row for row in rows if row['task'] == task], letters, columns, x, is_log, axes)}"
        for task in tasks
    ]
    legend = [f"{letter} {model}" for model, letter in letters.items()] + ["* several"]
    marks = [f"{mark} {text}" for mark, text in _MARKS.items() if x == "lr" and any(mark in text for text in panels)]
    return "\n\n".join([*panels, "\n".join([*legend, *marks])])


def _panel(
    rows: Sequence[Row], letters: Mapping[str, str], columns: int, x: str, is_log: bool, axes: tuple[str, str]
) -> str:
    values = sorted({row[x] for row in rows if row[x] is not None})
    scale: Callable[[float], float] = math.log if is_log and values[0] > 0 else float
    low, high = min(0.0, *(row["value"] for row in rows)), max(1.0, *(row["value"] for row in rows))
    width = columns - _LEFT - 1
    room = width - 1 - (_MARKED if x == "lr" else 0)  # the marks of the last point are behind it
    span = scale(values[-1]) - scale(values[0]) or 1.0
    canvas: dict[tuple[int, int], str] = {}
    at = {value: round((scale(value) - scale(values[0])) / span * room) for value in values}
    heights = [round((high - row["value"]) / (high - low) * (_ROWS - 1)) for row in rows]
    for row, y in zip(rows, heights, strict=True):
        if row[x] is not None:
            letter = letters[row["model"]]
            canvas[y, at[row[x]]] = letter if canvas.get((y, at[row[x]]), letter) == letter else "*"
    for row, y in zip(rows, heights, strict=True):
        if row[x] is None:
            _draw_level(canvas, y, width, letters[row["model"]])
        if x == "lr":
            _mark(canvas, y, at[row[x]], row)
    lines = []
    for y in range(_ROWS):
        label = f"{high - (high - low) * y / (_ROWS - 1):.2f}" if y % 3 == 0 else ""
        lines.append(f"{label:>{_LEFT - 1}} |{''.join(canvas.get((y, at_x), ' ') for at_x in range(width))}".rstrip())
    name = f"{axes[0]:>{columns}}"
    return "\n".join([axes[1], *lines, f"{'':{_LEFT}}+{'-' * width}", _ticks(at, width), name])


def _mark(canvas: dict[tuple[int, int], str], y: int, x: int, row: Row) -> None:
    """Put the marks of a learning rate behind its letter, where there is room."""
    for mark in (_SELECTED * row["selected"], _LOST * bool(row["num_lost"]), _PRUNED * bool(row["num_pruned"])):
        free = [at for at in (x + 1, x + 2) if canvas.get((y, at), mark) == mark]
        if mark and free:
            canvas[y, free[0]] = mark


def _draw_level(canvas: dict[tuple[int, int], str], y: int, width: int, letter: str) -> None:
    """Draw a level line in the places that are free, beginning with its letter."""
    free = [at for at in range(width) if canvas.get((y, at), "-") == "-"]
    canvas.update({(y, at): letter if at == free[0] else "-" for at in free})


def _ticks(at: Mapping[float, int], width: int) -> str:
    """Return the labels of the horizontal axis, as many as there is room for; the last is always there."""
    line = [" "] * (width + 1)
    last = max(at, key=lambda value: at[value])
    free = 0
    for value, column in at.items():
        text = f"{value:g}"
        start = max(0, min(column, width - len(text)))
        end = width if value == last else width - len(f"{last:g}") - 1
        if start >= free and start + len(text) <= end:
            line[start : start + len(text)] = text
            free = start + len(text) + 1
    return f"{'':{_LEFT + 1}}{''.join(line)}".rstrip()


def _map(data: pa.Table, columns: int) -> str:
    """Draw a line for each model and task: the number, and a bar for it."""
    rows = data.to_pylist()
    names = [f"{row['task']}  {row['model']}" for row in rows]
    texts = [
        ("failed" if row["failed"] else MISSING) if row["value"] is None else str(Estimate(value=row["value"]))
        for row in rows
    ]
    return _bars(names, [row["value"] or 0.0 for row in rows], texts, columns, most=1.0)


def _cost(data: pa.Table, columns: int) -> str:
    """Draw a bar for the time of each tier."""
    rows = data.to_pylist()
    texts = [f"{duration(3600 * row['hours'])}, {row['num_trials']} trials" for row in rows]
    return _bars([row["tier"] for row in rows], [row["hours"] for row in rows], texts, columns)


def _bars(names: Sequence[str], values: Sequence[float], texts: Sequence[str], columns: int, most: float = 0.0) -> str:
    """Return a line for each value, with its name, a bar and its text."""
    wide, behind = max(map(len, names)), max(map(len, texts))
    room = max(4, columns - wide - behind - 4)
    most = most or max(values) or 1.0
    bars = ["█" * round(room * min(1.0, max(0.0, value / most))) for value in values]
    lines = zip(names, bars, texts, strict=True)
    return "\n".join(f"{name:{wide}}  {bar:{room}}  {text:>{behind}}" for name, bar, text in lines)


TEXTS: Mapping[str, Callable[[pa.Table, int], str]] = {
    "length": partial(_lines, x="length", is_log=True),
    "heatmap": _map,
    "lr": partial(_lines, x="lr", is_log=True, y="validation accuracy"),
    "size": partial(_lines, x="x", is_log=True),
    "training": partial(_lines, x="step", is_log=False),
    "cost": _cost,
}
"""How each kind of figure is drawn, from its numbers and the columns of the terminal."""
