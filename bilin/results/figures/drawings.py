"""How each kind of figure is drawn from its numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bilin.models import MODELS
from bilin.results.figures.looks import look, looks
from bilin.results.figures.style import (
    CHANCE,
    CHARACTER_IN,
    LINE_WIDTH,
    MARKER_SIZE,
    Drawing,
    broken,
    label,
    legend,
    line_style,
    panels,
    settings,
)
from bilin.units import duration

Row = dict[str, Any]

_SHORT = "scaled accuracy"
_BAND = 0.18
_COVERED = 0.02
_MAX_COVERS = 3
_MAX_TICKS = 6
_LABEL_SHARE, _SMALL_CHARACTER_IN = 0.45, 0.048
"""The share of the width of a map that the names of the models have at most, and the width of their characters."""

_UNITS = (("hours", 1), ("minutes", 60), ("seconds", 3600))
_WORST, _BEST, _MARGIN = -0.1, 1.1, 0.05
"""The limits of an axis of accuracies, lower if one is worse; a marker at 0 or 1 is whole."""


def lengths(data: pa.Table, width_in: float) -> Figure:
    """Draw accuracy by tested length: a line for each model, and the training lengths shaded."""
    figure, axes, rows = _by_task(data, width_in)
    with settings():
        for panel, of_task in zip(axes, rows, strict=True):
            _lines(panel, of_task, "length")
            low, high = of_task[0]["train_low"], of_task[0]["train_high"]
            panel.axvspan(low, high, color="#000000", alpha=0.08, linewidth=0, label="training lengths")
            _log_scale(panel, [row["length"] for row in of_task])
            panel.axhline(0, label="chance", **CHANCE)
        _plain_ticks(axes, {row["length"] for of_task in rows for row in of_task})
        _finish(figure, axes, rows, x="length", y=_SHORT)
    return figure


def rates(data: pa.Table, width_in: float) -> Figure:
    """Draw validation accuracy by learning rate: the selected one has a ring, lost and pruned trials have crosses."""
    figure, axes, rows = _by_task(data, width_in)
    with settings():
        for panel, of_task in zip(axes, rows, strict=True):
            _lines(panel, of_task, "lr")
            for style, of_model in _models(of_task):
                chosen = [row for row in of_model if row["selected"]]
                lost = [row for row in of_model if row["num_lost"]]
                panel.plot(*_points(chosen, "lr"), "o", markersize=8, fillstyle="none", color=style["color"])
                panel.plot(*_points(lost, "lr"), "x", markersize=6, color=style["color"])
                pruned = [row for row in of_model if row["num_pruned"]]
                panel.plot(*_points(pruned, "lr"), "|", markersize=9, color=style["color"])
            _log_scale(panel, [row["lr"] for row in of_task])
            _chance(panel, of_task)
        tried = {row["lr"] for of_task in rows for row in of_task}
        if len(tried) <= _MAX_TICKS:
            _plain_ticks(axes, tried)
        axes[0].plot([], [], "o", markersize=8, fillstyle="none", color="#666666", label="selected")
        if any(row["num_lost"] for of_task in rows for row in of_task):
            axes[0].plot([], [], "x", markersize=6, color="#666666", label="some trials diverged or failed")
        if any(row["num_pruned"] for of_task in rows for row in of_task):
            axes[0].plot([], [], "|", markersize=9, color="#666666", label="stopped early by a pruner")
        _finish(figure, axes, rows, x="learning rate", y="validation accuracy")
    return figure


def sizes(data: pa.Table, width_in: float) -> Figure:
    """Draw accuracy by rank or another size: a line for each tier, a horizontal one for a tier without the size."""
    figure, axes, rows = _by_task(data, width_in)
    name = data["axis"][0].as_py()
    with settings():
        for panel, of_task in zip(axes, rows, strict=True):
            sized = [row for row in of_task if row["x"] is not None]
            _lines(panel, _styled([{**row, "model": row["tier"]} for row in sized]), "x")
            levels = _models([row for row in of_task if row["x"] is None and row["value"] is not None])
            heights = [of_model[0]["value"] for _, of_model in levels]
            for index, (style, of_model) in enumerate(levels):
                covers = sum(abs(other - heights[index]) < _COVERED for other in heights[index + 1 :])
                look = {**style, "marker": "", "linewidth": 0.8 + 0.9 * min(_MAX_COVERS, covers), "zorder": 1.9}
                panel.axhline(heights[index], label=of_model[0]["model"], **look)
            _log_scale(panel, [row["x"] for row in sized], base=2)
            panel.axhline(0, label="chance", **CHANCE)
        _plain_ticks(axes, {row["x"] for of_task in rows for row in of_task} - {None})
        named = [[{**row, "model": row["model"] if row["x"] is None else row["tier"]} for row in each] for each in rows]
        _finish(figure, axes, named, x=name.replace("_", " "), y=_SHORT)
    return figure


def training(data: pa.Table, width_in: float) -> Figure:
    """Draw the curves of training: a line for each model, with a band over its seeds."""
    figure, axes, rows = _by_task(data, width_in)
    what = data["of"][0].as_py()
    with settings():
        for panel, of_task in zip(axes, rows, strict=True):
            _lines(panel, of_task, "step")
            _chance(panel, of_task)
        _finish(figure, axes, rows, x="step", y=f"training {what}", is_accuracy=what == "accuracy")
    return figure


def heatmap(data: pa.Table, width_in: float) -> Figure:
    """Draw accuracy as a map of models by tasks, with the number in each cell; hatched if missing, × if it failed."""  # noqa: RUF002
    rows = data.to_pylist()
    models, tasks = _in_order(rows), list(dict.fromkeys(row["task"] for row in rows))
    kinds = {task.partition(" ")[0] for task in tasks}
    names = [task.partition(" ")[2] or task if len(kinds) == 1 else task for task in tasks]
    found = {(row["model"], row["task"]): row for row in rows}
    values = np.full((len(models), len(tasks)), np.nan)
    for (model, task), row in found.items():
        if row["value"] is not None:
            values[models.index(model), tasks.index(task)] = row["value"]
    labels = [broken(model, _LABEL_SHARE * width_in / _SMALL_CHARACTER_IN) for model in models]
    num_lines = max(1 + text.count("\n") for text in labels)
    row_in = 0.1 + 0.1 * num_lines
    height = 0.75 + row_in * len(models) + (0.6 if len(kinds) > 1 else 0.0)
    figure, (panel,) = panels([_title(kinds, rows)], width_in, height_in=height)
    with settings():
        panel.grid(visible=False)
        panel.set_facecolor("white")
        image = panel.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for y, model in enumerate(models):
            for x, task in enumerate(tasks):
                _number(panel, x, y, found.get((model, task)), is_small=len(tasks) * 0.35 > width_in * 0.6)
        panel.set_xticks(
            range(len(tasks)), names, rotation=30 if len(kinds) > 1 else 0, ha="right" if len(kinds) > 1 else "center"
        )
        panel.set_yticks(range(len(models)), labels, fontsize=7 if num_lines == 1 else 6, linespacing=1)
        panel.tick_params(length=0)
        for spine in panel.spines.values():
            spine.set_visible(False)
        figure.colorbar(image, ax=panel, label=_SHORT, shrink=min(1.0, 1.2 / (row_in * len(models))))
    return figure


def cost(data: pa.Table, width_in: float) -> Figure:
    """Draw the hours of computation of each tier, on CPUs and GPUs, with the number of its trials."""
    rows = data.to_pylist()
    figure, (panel,) = panels([""], width_in, height_in=0.6 + 0.22 * len(rows))
    with settings():
        tiers = [row["tier"] for row in rows]
        longest = max(row["hours"] for row in rows)
        unit, per_hour = next(((unit, per) for unit, per in _UNITS if longest * per >= 1), _UNITS[-1])
        cpu = [(row["hours"] - row["gpu_hours"]) * per_hour for row in rows]
        gpu = [row["gpu_hours"] * per_hour for row in rows]
        colours = [look(tier).colour for tier in tiers]
        panel.barh(tiers, cpu, color=colours, height=0.7, label="CPU" if any(cpu) else None)
        if any(gpu):
            panel.barh(tiers, gpu, left=cpu, color=colours, height=0.7, hatch="////", edgecolor="white", label="GPU")
        texts = [f" {row['num_trials']} × {_mean_time(row)}" for row in rows]  # noqa: RUF001
        for y, (row, text) in enumerate(zip(rows, texts, strict=True)):
            panel.text(row["hours"] * per_hour, y, text, va="center", fontsize=7)
        room = max(map(len, texts)) / (width_in / CHARACTER_IN - max(map(len, tiers)) - 7)  # for the longest text
        panel.set_xlim(0, max(row["hours"] for row in rows) * per_hour / max(0.2, 1 - room) or 1.0)
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
        panel.set_xlabel(f"{unit} (trials × mean time)")  # noqa: RUF001
        if any(cpu) and any(gpu):
            legend(figure, [panel])
    return figure


DRAWINGS: Mapping[str, Callable[[pa.Table, float], Figure]] = {
    "length": lengths,
    "heatmap": heatmap,
    "lr": rates,
    "size": sizes,
    "training": training,
    "cost": cost,
}
"""How each kind of figure is drawn, from its numbers and its width in inches."""


def _mean_time(row: Row) -> str:
    mean_s = 3600 * row["hours"] / row["num_trials"]
    return f"{mean_s:.2g} s" if mean_s < 10 else duration(mean_s)


def _by_task(data: pa.Table, width_in: float) -> tuple[Drawing, list[Axes], list[list[Row]]]:
    """Return a figure with a panel for each task, and the rows of each."""
    rows: dict[str, list[Row]] = {}
    for row in _styled(data.to_pylist()):
        rows.setdefault(row["task"], []).append(row)
    figure, axes = panels([task.replace("_", " ") for task in rows], width_in)
    return figure, axes, list(rows.values())


def _in_order(rows: Sequence[Row]) -> list[str]:
    """Return the models by tier, in the order of the registry; those of one tier in the order of the rows."""
    tiers = [*MODELS, *dict.fromkeys(row["tier"] for row in rows)]
    in_order = sorted(rows, key=lambda row: tiers.index(row["tier"]))
    return list(dict.fromkeys(row["model"] for row in in_order))


def _styled(rows: Sequence[Row]) -> list[Row]:
    """Return rows with the style of their model, the same in every panel."""
    styles = {model: line_style(look) for model, look in looks((row["tier"], row["model"]) for row in rows).items()}
    return [{**row, "style": styles[row["model"]]} for row in rows]


def _models(rows: Sequence[Row]) -> list[tuple[dict[str, Any], list[Row]]]:
    """Return the rows of each model with its style."""
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        by_model.setdefault(row["model"], []).append(row)
    return [(of_model[0]["style"], of_model) for of_model in by_model.values()]


def _lines(panel: Axes, rows: Sequence[Row], x: str) -> None:
    """Draw a line for each model, with a band over its seeds. One that others cover is wider, to be seen below them."""
    found = [(style, of_model, _known(of_model, x)) for style, of_model in _models(rows)]
    drawn = [each for each in found if each[-1]]
    for index, (style, of_model, known) in enumerate(drawn):
        wider = min(_MAX_COVERS, sum(_cover(known, other) for _, _, other in drawn[index + 1 :]))
        panel.plot(
            list(known),
            list(known.values()),
            label=of_model[0]["model"],
            markevery=max(1, len(known) // 6) if len(known) > 12 else 1,
            linewidth=LINE_WIDTH + 0.9 * wider,
            markersize=MARKER_SIZE + 1.2 * wider,
            **style,
        )
        banded = [row for row in of_model if row["low"] is not None]
        low, high = ([row[end] for row in banded] for end in ("low", "high"))
        panel.fill_between([row[x] for row in banded], low, high, color=style["color"], alpha=_BAND, linewidth=0)


def _known(rows: Sequence[Row], x: str) -> dict[float, float]:
    return {row[x]: row["value"] for row in rows if row["value"] is not None}


def _cover(one: Mapping[float, float], other: Mapping[float, float]) -> bool:
    """Return whether one line would lie under the other."""
    return bool(one) and all(abs(other.get(x, float("inf")) - value) < _COVERED for x, value in one.items())


def _points(rows: Sequence[Row], x: str) -> tuple[list[float], list[float]]:
    return [row[x] for row in rows], [row["value"] for row in rows]


def _log_scale(panel: Axes, values: Sequence[float], base: int = 10) -> None:
    """Make an axis logarithmic, unless a value is not positive."""
    if min(values, default=1) > 0:
        panel.set_xscale("log", base=base)


def _plain_ticks(panels: Sequence[Axes], values: Collection[float]) -> None:
    """Label the axis that panels share with its values, as many as there is room for."""
    shown = sorted(values)[:: -(-len(values) // _MAX_TICKS) or 1]
    for panel in panels:
        panel.set_xticks(shown, [f"{value:g}" for value in shown])
        panel.minorticks_off()


def _chance(panel: Axes, rows: Sequence[Row]) -> None:
    """Draw the accuracy that guessing has, if it is known."""
    for chance in {row["chance"] for row in rows} - {None}:
        panel.axhline(chance, label="chance", **CHANCE)


def _finish(
    figure: Figure, axes: Sequence[Axes], rows: Sequence[Sequence[Row]], *, x: str, y: str, is_accuracy: bool = True
) -> None:
    if is_accuracy:
        lowest = min(0.0, *(panel.dataLim.y0 for panel in axes))  # with the bands
        axes[0].set_ylim(min(_WORST, lowest - _MARGIN), _BEST)
    label(axes, x, y)
    legend(figure, axes, _in_order([row for of_task in rows for row in of_task]))


def _title(kinds: set[str], rows: Sequence[Row]) -> str:
    found = {row["length"] for row in rows}
    at = f"length {found.pop()}" if len(found) == 1 else "the longest tested lengths"
    return ", ".join([*(kind.replace("_", " ") for kind in kinds if len(kinds) == 1), at])


def _number(panel: Axes, x: int, y: int, row: Row | None, *, is_small: bool) -> None:
    """Write the number of a cell of a map, in a colour that is readable on it."""
    if row is None or (row["value"] is None and not row["failed"]):
        panel.fill_between(
            [x - 0.5, x + 0.5], y - 0.5, y + 0.5, facecolor="white", hatch="////", edgecolor="#bbbbbb", linewidth=0
        )
        return
    if row["value"] is None:
        panel.text(x, y, "×", ha="center", va="center", color="#666666")  # noqa: RUF001
        return
    number = min(row["value"], 0.99) if row["value"] < 1 else row["value"]
    colour = "black" if row["value"] > 0.55 else "white"
    text = f"{number:.2f}".replace("-0.00", "0.00")
    panel.text(x, y, text, ha="center", va="center", color=colour, fontsize=5.5 if is_small else 7)
