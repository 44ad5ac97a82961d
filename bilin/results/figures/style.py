"""What all figures of matplotlib share: widths, fonts, panels and legends; `looks` has the look of each tier."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bilin.results.figures.looks import Look

WIDTHS_IN = {"column": 3.25, "text": 5.5, "page": 6.75}
"""Widths of a figure in a paper: a column, the text of one column, and two columns."""

LINE_WIDTH, MARKER_SIZE = 1.2, 3.5

_PANEL_IN = 1.9
"""The least width of a panel."""

_RATIO, _HIGHEST_IN = 0.62, 2.2
"""The height of a panel by its width, and its greatest height."""

_LINE_IN = 0.15
CHARACTER_IN = 0.056
_HANDLE_IN = 0.5
"""Sizes of a legend."""

_SETTINGS: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "font.family": "DejaVu Sans",  # matplotlib brings it, so figures are the same everywhere
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": LINE_WIDTH,
    "lines.markersize": MARKER_SIZE,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "pdf.fonttype": 42,  # TrueType: conferences refuse type 3
    "ps.fonttype": 42,
    "svg.hashsalt": "bilin",
    "savefig.dpi": 200,
    "figure.dpi": 100,
}


class Drawing(Figure):
    """A figure of matplotlib that keeps its look when it is saved or shown, with the same bytes each time."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save as `matplotlib.figure.Figure.savefig` does."""
        kind = str(options.get("format") or fname).rpartition(".")[2].lower()
        undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
        with mpl.rc_context(_SETTINGS):
            super().savefig(fname, **{**options, "metadata": {**undated, **(options.get("metadata") or {})}})

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def panels(titles: Sequence[str], width_in: float, *, height_in: float | None = None) -> tuple[Drawing, list[Axes]]:
    """Return a figure with a panel for each title, in rows that fill its width, with shared axes."""
    num_cols = max(1, min(len(titles), int(width_in / _PANEL_IN)))
    num_rows = -(-len(titles) // num_cols)
    height = height_in or min(_RATIO * width_in / num_cols, _HIGHEST_IN)
    with mpl.rc_context(_SETTINGS):
        figure = Drawing(figsize=(width_in, height * num_rows), layout="constrained")
        grid = figure.subplots(num_rows, num_cols, sharex=True, sharey=True, squeeze=False).flat
        axes = list(grid)
        for panel in axes[len(titles) :]:
            panel.remove()
        for index, (panel, title) in enumerate(zip(axes, titles, strict=False)):
            panel.set_title(title)
            panel.grid(visible=True)
            panel.set_axisbelow(True)
            if index + num_cols >= len(titles):  # nothing is below it
                panel.tick_params(labelbottom=True)
    return figure, axes[: len(titles)]


def settings() -> Any:
    """Return a context in which everything that is drawn has the look."""
    return mpl.rc_context(_SETTINGS)


def line_style(look: Look) -> dict[str, Any]:
    """Return the colour, dash and marker of a line, for matplotlib."""
    return {"color": look.colour, "linestyle": (0, look.dash) if look.dash else "-", "marker": look.marker}


def label(axes: Sequence[Axes], x: str, y: str) -> None:
    """Label the axes of the panels at the bottom and at the left."""
    for panel in axes:
        if panel.xaxis.get_tick_params()["labelbottom"]:
            panel.set_xlabel(x)
        if panel.yaxis.get_tick_params()["labelleft"]:
            panel.set_ylabel(y)


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Put one legend for all panels below them, in as many columns as fit, and make room for it."""
    entries = {text: handle for panel in axes for handle, text in zip(*panel.get_legend_handles_labels(), strict=True)}
    if not entries:
        return
    width, height = figure.get_size_inches()
    widest = max(map(len, entries)) * CHARACTER_IN + _HANDLE_IN
    num_cols = max(1, min(len(entries), int(width / widest)))
    figure.set_size_inches(width, height + _LINE_IN * -(-len(entries) // num_cols) + 0.1)
    below = figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=num_cols)
    for line in below.get_lines():
        if line.get_linewidth() > LINE_WIDTH:
            line.set(linewidth=LINE_WIDTH, markersize=MARKER_SIZE)
