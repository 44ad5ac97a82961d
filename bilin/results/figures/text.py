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

_LETTERS = string.ascii_lowercase + string.ascii_uppercase

Row = dict[str, Any]


def _lines(data: pa.Table, columns: int, *, x: str, is_log: bool, line: str = "model") -> str:
    """Draw a panel for each task, in which each line is a letter; ``*`` stands for several.

    An axis with a value that is not positive is linear.
    """
    rows = [{**row, "model": row[line]} for row in data.to_pylist() if row["value"] is not None and row[x] is not None]
    models = list(dict.fromkeys(row["model"] for row in rows))
    letters = dict(zip(models, _LETTERS * (1 + len(models) // len(_LETTERS)), strict=False))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    panels = [
        f"{task}\n{_panel([row for row in rows if row['task'] == task], letters, columns, x, is_log)}" for task in tasks
    ]
    legend = "\n".join(f"{letter} {model}" for model, letter in letters.items())
    axis = data["axis"][0].as_py() if x == "x" else x
    return "\n\n".join([*panels, f"{axis}\n\n{legend}\n* several"])


def _panel(rows: Sequence[Row], letters: Mapping[str, str], columns: int, x: str, is_log: bool) -> str:
    values = sorted({row[x] for row in rows})
    scale: Callable[[float], float] = math.log if is_log and values[0] > 0 else float
    low, high = min(0.0, *(row["value"] for row in rows)), max(1.0, *(row["value"] for row in rows))
    width = columns - _LEFT - 1
    span = scale(values[-1]) - scale(values[0]) or 1.0
    canvas: dict[tuple[int, int], str] = {}
    at = {value: round((scale(value) - scale(values[0])) / span * (width - 1)) for value in values}
    for row in rows:
        place = round((high - row["value"]) / (high - low) * (_ROWS - 1)), at[row[x]]
        letter = letters[row["model"]]
        canvas[place] = letter if canvas.get(place, letter) == letter else "*"
    lines = []
    for y in range(_ROWS):
        label = f"{high - (high - low) * y / (_ROWS - 1):.2f}" if y % 3 == 0 else ""
        lines.append(f"{label:>{_LEFT - 1}} |{''.join(canvas.get((y, at_x), ' ') for at_x in range(width))}".rstrip())
    return "\n".join([*lines, f"{'':{_LEFT}}+{'-' * width}", _ticks(at, width)])


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
    "lr": partial(_lines, x="lr", is_log=True),
    "size": partial(_lines, x="x", is_log=True, line="tier"),
    "training": partial(_lines, x="step", is_log=False),
    "cost": _cost,
}
"""How each kind of figure is drawn, from its numbers and the columns of the terminal."""
