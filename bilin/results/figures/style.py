"""What all figures of matplotlib share: widths, fonts, panels and legends; `looks` has the look of each tier."""

from __future__ import annotations

import io
import textwrap
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

_EDGE_IN, _CAPTION_LINE_IN, _CAPTION_PT = 0.05, 0.12, 6.5
"""Sizes of the text below a figure."""

CHANCE: Any = {"color": "#666666", "linewidth": 0.7, "linestyle": (0, (1, 2)), "marker": "", "zorder": 1}
"""The look of the line of chance."""

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


def legend(figure: Figure, axes: Sequence[Axes], first: Sequence[str] = ()) -> None:
    """Put one legend for all panels below them, in as many columns as fit, and make room for it.

    Long texts are broken, so that several fit into two columns.

    Args:
        figure: The figure.
        axes: Its panels.
        first: The texts that the legend begins with, in order.
    """
    found = {text: handle for panel in axes for handle, text in zip(*panel.get_legend_handles_labels(), strict=True)}
    if not found:
        return
    entries = sorted(found, key=lambda text: first.index(text) if text in first else len(first))
    width, height = figure.get_size_inches()
    widest = max(map(len, entries)) * CHARACTER_IN + _HANDLE_IN
    num_cols = max(1, min(len(entries), int(width / widest)), min(2, len(entries) // 2))
    texts = [broken(text, (width / num_cols - _HANDLE_IN) / CHARACTER_IN) for text in entries]
    num_rows = -(-len(entries) // num_cols)
    lines = [1 + text.count("\n") for text in texts]
    num_lines = max(sum(lines[start : start + num_rows]) for start in range(0, len(lines), num_rows))
    figure.set_size_inches(width, height + _LINE_IN * num_lines + 0.1)
    below = figure.legend([found[text] for text in entries], texts, loc="outside lower center", ncols=num_cols)
    for line in below.get_lines():
        if line.get_linewidth() > LINE_WIDTH:
            line.set(linewidth=LINE_WIDTH, markersize=MARKER_SIZE)


def caption(figure: Figure, text: str) -> None:
    """Write a text below everything else, and make room for it."""
    engine = figure.get_layout_engine()
    if not text or engine is None:
        return
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(text, int((width - 2 * _EDGE_IN) / CHARACTER_IN), break_on_hyphens=False)
    room = _CAPTION_LINE_IN * len(lines) + 2 * _EDGE_IN
    figure.set_size_inches(width, height + room)
    share = room / (height + room)
    engine.set(rect=(0, share, 1, 1 - share))  # type: ignore[call-arg]
    for below in figure.legends:
        below.borderaxespad += 72 * room / below.prop.get_size()  # an anchor of its own would lose it its room
    with settings():
        figure.text(
            _EDGE_IN / width, _EDGE_IN / (height + room), "\n".join(lines), va="bottom", fontsize=_CAPTION_PT,
            color="#444444", linespacing=1.2,
        )  # fmt: skip


def broken(text: str, width: float) -> str:
    """Return a text in lines of some characters at most, broken between words if it can be."""
    return "\n".join(textwrap.wrap(text, max(8, int(width)), break_on_hyphens=False)) or text
