"""`plot` draws a figure, and `figure_data` returns the numbers behind it. matplotlib is imported when one is drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from bilin.errors import InputError, QueryError, unknown
from bilin.folder import DEFAULT_STORE
from bilin.results.export import output_file
from bilin.results.figures.data import DATA, Subject
from bilin.results.figures.notes import note_of, with_note
from bilin.results.figures.spectrum import draw_spectrum
from bilin.results.figures.text import LEAST_COLUMNS, TEXTS
from bilin.results.sql.open_store import OpenStore, at_one_moment
from bilin.results.statistics import DEFAULT_STATISTIC, Statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS: Mapping[str, str] = {
    "length": "accuracy by tested length, with the training lengths shaded",
    "heatmap": "accuracy of models by tasks as a map, with the number in each cell",
    "lr": "validation accuracy by learning rate, with the selected one marked",
    "size": "accuracy by rank, block size or another field",
    "training": "accuracy or loss by training step, at the selected learning rate",
    "cost": "hours of computation of each tier",
}
"""The kinds of figures of sweeps."""

SPECTRUM = "spectrum"
"""The kind of figure of one trial, whose numbers are those of `bilin.orchestrator.spectrum`."""

ENDINGS = (".png", ".svg", ".pdf")
"""What a file of a figure may end with."""


def figure_data(
    kind: str,
    store: Path | str | OpenStore = DEFAULT_STORE,
    *,
    sweep: str | None = None,
    where: str | None = None,
    length: int | None = None,
    stat: str | None = None,
    value: str | None = None,
    x: str | None = None,
    everything: bool = False,
) -> pa.Table:
    """Return the numbers behind a figure. The arguments are those of `plot`.

    The note below the figure is in the metadata of the schema, under ``note``.

    Raises:
        QueryError: An argument is not one of those accepted, or there is nothing to draw.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    check_figure_kind(kind)
    if kind == SPECTRUM:
        raise QueryError("a spectrum is of one trial: use bilin.orchestrator.spectrum(trial)")
    statistic = Statistic.read(stat, DEFAULT_STATISTIC)
    for name, given, of in (("value", value, "training"), ("x", x, "size")):
        if given is not None and kind != of:
            raise QueryError(f"{name} is for the figure {of}; found {kind}")
    subject = Subject(
        store=store, sweep=sweep, where=where, everything=everything, length=length,
        stat=statistic, value=value, x=x,
    )  # fmt: skip
    data = at_one_moment(
        store,
        lambda opened: DATA[kind](replace(subject, store=opened)),
        sweeps=[sweep] if sweep else (),
        curves=kind == "training",
    )
    if not data.num_rows or (kind in ("length", "size") and data["value"].null_count == data.num_rows):
        raise QueryError(_nothing(kind, subject, has_rows=data.num_rows > 0))
    return with_note(kind, data, statistic)


def _nothing(kind: str, subject: Subject, *, has_rows: bool) -> str:
    """Return why there is nothing to draw, and what to do."""
    what = "trial" if kind in ("lr", "cost", "training") else "cell"
    of = f"the sweep {subject.sweep}" if subject.sweep else str(subject.store)
    if has_rows:
        why = "their trials have not ended, or diverged or failed; see `bilin sweep status`"
        return f"nothing to draw: the {what}s of {of} have no number: {why}"
    if subject.where is not None:
        view = f"bilin results query --view {what}s"
        return f"nothing to draw: no {what} of {of} meets {subject.where!r}; `{view}` shows what a condition can name"
    if kind == "training":
        return f"nothing to draw: no trial of {of} has a curve; a trial has one after `validate.every` steps"
    return f"nothing to draw: no {what} is stored in {of}; run a sweep with `bilin sweep launch`, or name another store"


def plot(
    kind: str,
    store: Path | str = DEFAULT_STORE,
    *,
    sweep: str | None = None,
    where: str | None = None,
    length: int | None = None,
    stat: str | None = None,
    value: str | None = None,
    x: str | None = None,
    width: str | float = "text",
    everything: bool = False,
) -> Figure:
    """Return a figure of results, which can be changed and saved with ``savefig``.

    Args:
        kind: ``length``, ``heatmap``, ``lr``, ``size``, ``training`` or ``cost``.
        store: Directory of the store.
        sweep: The sweep to look at; None looks at all.
        where: A condition in SQL on cells, or for ``lr``, ``training`` and ``cost`` on trials.
        length: The tested length; by default the greatest of each task.
        stat: A `Statistic`: the line and the band over the seeds; by default `DEFAULT_STATISTIC`.
        value: For ``training``: ``accuracy`` or ``loss``.
        x: For ``size``: the field on the horizontal axis; by default the rank, block size or hidden size that varies.
        width: ``column``, ``text`` or ``page`` of a paper, or inches.
        everything: Include rows that the grid of the last launch does not ask for.

    Raises:
        InputError: matplotlib is not installed.
        QueryError: An argument is not one of those accepted, or there is nothing to draw.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    data = figure_data(
        kind, store, sweep=sweep, where=where, length=length, stat=stat, value=value, x=x, everything=everything
    )
    return draw_figure(kind, data, width)


def draw_figure(kind: str, data: pa.Table, width: str | float = "text") -> Figure:
    """Return the figure of the numbers that `figure_data` returned, or of those of a ``spectrum``.

    Raises:
        InputError: matplotlib is not installed.
        QueryError: The width is not one of those accepted.
    """
    try:
        from bilin.results.figures import drawings, style
    except ImportError as error:
        raise InputError(f"figures need matplotlib: pip install 'bilin[plot]' ({error})") from error
    draw = draw_spectrum if kind == SPECTRUM else drawings.DRAWINGS[kind]
    figure = draw(data, _inches(width, style.WIDTHS_IN))
    style.caption(figure, note_of(data))
    return figure


def draw_text(kind: str, data: pa.Table, columns: int = 80) -> str:
    """Return the numbers that `figure_data` returned as a figure of characters, for a terminal of some columns."""
    width = max(columns, LEAST_COLUMNS)
    return "\n\n".join(
        [TEXTS[kind](data, width), *filter(None, ["\n".join(textwrap.wrap(note_of(data, has_bands=False), width))])]
    )


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file, which is replaced when it is complete.

    Raises:
        InputError: The name of the file does not end in .png, .svg or .pdf, or the file cannot be written.
    """
    check_figure_path(path)
    with output_file(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower())


def check_figure_kind(kind: str) -> None:
    """Raise if there is no such figure."""
    if kind not in (*KINDS, SPECTRUM):
        raise QueryError(unknown("figure", kind, (*KINDS, SPECTRUM)))


def check_figure_path(path: Path) -> None:
    """Raise if the name of a file does not say which picture it is."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"found {path}; accepted: names that end in {', '.join(ENDINGS)}")


def _inches(width: str | float, named: Mapping[str, float]) -> float:
    if width in named:
        return named[str(width)]
    try:
        inches = float(width)
    except ValueError:
        inches = 0.0
    if not 1 <= inches <= 40:
        raise QueryError(f"no width {width!r}; accepted: {', '.join(named)}, or 1 to 40 inches")
    return inches
