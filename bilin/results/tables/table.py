"""A table of cells: models against tasks or any fields against any others, one number for each."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from bilin.errors import QueryError, unknown
from bilin.folder import DEFAULT_STORE, SweepFolder, store_option
from bilin.results.published.compare import published_for, source_of
from bilin.results.result_table import MISSING, Column, Estimate, ResultTable, is_number
from bilin.results.sql.open_store import OpenStore, at_one_moment
from bilin.results.sql.query import query
from bilin.results.statistics import DEFAULT_STATISTIC, Statistic
from bilin.results.tables.layout import Cell, Layout, at_lengths, models_by_tasks, pivot
from bilin.results.tables.measures import SHOWN, Measure, Seeds, estimate, lost_by_status, mark_best
from bilin.units import plural

BY = ("task", "length")
"""What the columns of a table are without `rows` and `cols`: all tasks at one length, or all lengths of one task."""

BOLD = ("best", "within-interval", "none")
BOLD_BY = ("column", "group")

_MAX_MIXTURES = 3


def table(
    store: Path | str | OpenStore = DEFAULT_STORE,
    *,
    sweep: str | None = None,
    length: int | None = None,
    by: str = "task",
    value: str = "mean",
    stat: str | None = None,
    everything: bool = False,
    where: str | None = None,
    rows: Sequence[str] = (),
    cols: Sequence[str] = (),
    show: Sequence[str] = (),
    decimals: int | None = None,
    bold: str = "best",
    bold_by: str = "column",
    published: str | None = None,
) -> ResultTable:
    """Return models against tasks, or any fields of cells against any others, from the view `cells`.

    For machines, each number has its interval, the number of its seeds and the seeds in columns of their own.

    Args:
        store: Directory of the store, or one that is open: see `at_one_moment`.
        sweep: The sweep to look at; None looks at all.
        length: The tested length to show; by default the greatest of each task, or by length all.
        by: ``task``, or ``length`` for a section for each task with a column for each length.
        value: What to show. ``NAME@500`` also says the length.
        stat: A `Statistic`: how the values of the seeds become one number; by default `DEFAULT_STATISTIC`.
        everything: Include rows that the grid of the last launch does not ask for.
        where: A condition in SQL that cells must meet.
        rows: Fields that tell the rows apart, instead of models; the first groups them.
        cols: Fields that tell the columns apart, instead of tasks; the last is the heading.
        show: Columns of `cells` to show beside each number, such as ``lr``.
        decimals: Digits after the point; by default 2 for shares.
        bold: Which numbers are bold: the ``best``, also those ``within-interval`` of the best, or ``none``.
        bold_by: The best is that of a ``column``, or of a ``group`` of rows in a column.
        published: The source of published accuracies to show beside each number, such as ``2505.21749``.

    Raises:
        QueryError: An argument is not one of those accepted, no trial was tested at the length, or several cells have
            one position.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    _check(by=by, show=show, bold=bold, bold_by=bold_by)
    value, length = _split_length(value, length)
    measure = Measure.read(value, stat, decimals, DEFAULT_STATISTIC)
    source = None if published is None else source_of(published)
    if cols and not rows:
        raise QueryError("columns need rows: name the fields that tell the rows apart")
    if rows and by == "length":
        raise QueryError("a table by length has models as rows; add length to the columns instead")

    has_lengths = measure.depends_on_length and (by == "length" or "length" in (*rows, *cols))

    def ask(opened: OpenStore) -> tuple[pa.Table, list[Cell], Seeds]:
        stored = query(store=opened, view="cells", sweep=sweep, where=where, everything=everything).to_arrow()
        cells = at_lengths(stored.to_pylist(), stored.schema, length, only_greatest=not has_lengths)
        seeds = Seeds(opened, sweep=sweep, everything=everything)
        cells = seeds.with_values(cells, measure.name)
        if measure.statistic is Statistic.MEAN_CI and any(cell["num_seeds"] == 1 for cell in cells):
            cells = seeds.with_wilson(cells)
        return stored, cells, seeds

    stored, cells, seeds = at_one_moment(store, ask, sweeps=[sweep] if sweep else ())
    layout = (
        pivot(cells, stored.schema, rows=rows, cols=cols)
        if rows
        else models_by_tasks(cells, stored.schema, by_length=by == "length")
    )

    counts = {cell["num_seeds"] for cell in cells if cell["num_seeds"]}
    estimates = [
        [None if cell is None else estimate(cell, measure, seeds, with_seeds=len(counts) > 1) for cell in of_column]
        for of_column in map(layout.column, layout.places)
    ]
    if measure.is_estimated and bold != "none":
        groups = layout.groups if bold_by == "group" else [None] * len(layout.rows)
        estimates = [mark_best(column, groups, measure, rule=bold) for column in estimates]
    note = "nothing is stored yet" if where is None else "no cell meets the condition"
    if cells:
        at = _at_lengths(cells) if rows and measure.depends_on_length and not has_lengths else ""
        note = "; ".join(filter(None, (measure.meaning, at, _note_on_seeds(measure, counts), _note_on_papers(source))))
        note += _note_on_left_out(stored, cells)
        note += _note_on_lost(cells, seeds) if measure.is_estimated else ""
        note += _note_on_nonfinite(cells, seeds) if measure.is_estimated and measure.depends_on_length else ""
        note += _note_on_mixtures(cells, store, is_marked=measure.is_estimated)
    beside = [*show, *(["published"] if source else [])]
    columns = _columns(layout, measure, estimates, beside, source)
    return ResultTable(
        data=pa.table(layout.row_arrays() | {name: array for name, (array, _) in columns.items()}),
        columns=[*_row_columns(layout), *(column for _, column in columns.values() if column is not None)],
        note=note,
        groups=layout.groups,
    )


def _check(*, by: str, show: Sequence[str], bold: str, bold_by: str) -> None:
    for given, accepted, what in (
        ([by], BY, "kind of column"), (show, SHOWN, "column to show"), ([bold], BOLD, "rule for bold"),
        ([bold_by], BOLD_BY, "part of a table"),
    ):  # fmt: skip
        for name in given:
            if name not in accepted:
                raise QueryError(unknown(what, name, accepted))


def _split_length(value: str, length: int | None) -> tuple[str, int | None]:
    """Return the name and the length of a value such as ``accuracy@500``."""
    name, at, digits = value.partition("@")
    if not at:
        return name, length
    if not digits.isdecimal() or (length is not None and int(digits) != length):
        raise QueryError(f"found the value {value!r}; accepted: a name, or a name with one length, as in mean@500")
    return name, int(digits)


def _row_columns(layout: Layout) -> list[Column]:
    return [
        Column(name=name, heading=name, section=None, right_aligned=is_number(array.type))
        for name, array in layout.row_arrays().items()
    ]


def _columns(
    layout: Layout,
    measure: Measure,
    estimates: Sequence[Sequence[Estimate | None]],
    beside: Sequence[str],
    source: str | None,
) -> dict[str, tuple[pa.Array, Column | None]]:
    """Return the columns of the numbers by their names, each with how people see it; None if they do not."""
    columns: dict[str, tuple[pa.Array, Column | None]] = {}
    for place, of_column in zip(layout.places, estimates, strict=True):
        cells = layout.column(place)
        shown = Column(name=place.name, heading=place.heading, section=place.section, missing=MISSING)
        if measure.is_estimated:
            columns[place.name] = _floats(of_column, "value"), replace(shown, values=of_column)
        else:
            columns[place.name] = _of_cells(cells, measure.name, layout), shown
        if measure.has_interval:
            extra = {name: array for name, array in _beside(cells, of_column).items() if name not in beside}
            columns |= {f"{place.name}, {name}": (array, None) for name, array in extra.items()}
        for heading in beside:
            name = f"{place.name}, {heading}"
            column = replace(shown, name=name, heading=heading, right_aligned=True, follows=True)
            if heading == "published":
                numbers = [_published(cell, source, measure) for cell in cells]
                columns[name] = _floats(numbers, "value"), replace(column, values=numbers)
            else:
                columns[name] = _of_cells(cells, heading, layout), column
    return columns


def _published(cell: Cell | None, source: str | None, measure: Measure) -> Estimate | None:
    accuracy = published_for(cell, source) if cell and source else None
    return None if accuracy is None else Estimate(value=accuracy, decimals=measure.decimals)


def _of_cells(cells: Sequence[Cell | None], name: str, layout: Layout) -> pa.Array:
    return pa.array([cell and cell[name] for cell in cells], layout.schema.field(name).type)


def _floats(estimates: Sequence[Estimate | None], name: str) -> pa.Array:
    return pa.array([None if one is None else getattr(one, name) for one in estimates], pa.float64())


def _beside(cells: Sequence[Cell | None], estimates: Sequence[Estimate | None]) -> dict[str, pa.Array]:
    """Return the columns that machines get beside a number."""
    return {
        "low": _floats(estimates, "low"),
        "high": _floats(estimates, "high"),
        "num_seeds": pa.array([cell and cell["num_seeds"] for cell in cells], pa.int64()),
        "seeds": pa.array([cell and cell["seeds"] for cell in cells], pa.list_(pa.int64())),
        "mixed": pa.array([cell and cell["mixed"] for cell in cells], pa.string()),
    }


def _at_lengths(cells: Collection[Cell]) -> str:
    lengths = {cell["length"] for cell in cells}
    return f"length {lengths.pop()}" if len(lengths) == 1 else "the longest tested length of each task"


def _note_on_seeds(measure: Measure, counts: Collection[int]) -> str:
    """Say what a number has beside it."""
    statistic = measure.statistic
    if not counts or not measure.has_interval:
        return ""
    has_wilson = measure.name == "mean" and statistic is Statistic.MEAN_CI and 1 in counts
    if counts == {1}:
        return f"one seed, in brackets its 95 % Wilson interval ({statistic})" if has_wilson else "one seed"
    seeds = f"{min(counts)} seeds" if len(counts) == 1 else "the seeds, whose number is in parentheses"
    if not statistic.interval:
        return f"the best of {seeds} ({statistic})"
    mark = "±" if statistic.is_symmetric else "in brackets"
    wilson = ", or for one seed in brackets its 95 % Wilson interval" if has_wilson else ""
    return f"{mark} {statistic.interval} of {seeds}{wilson} ({statistic})"


def _note_on_papers(source: str | None) -> str:
    return f"beside it the accuracy of {source}" if source else ""


def _note_on_left_out(stored: pa.Table, cells: Sequence[Cell]) -> str:
    """Say how many cells were not tested at the length that is shown, and a great length at which many of them were."""
    shown = {(cell["sweep"], cell["cell_id"]) for cell in cells}
    lengths = defaultdict[tuple[str, str], set[int]](set)
    columns = (stored[name].to_pylist() for name in ("sweep", "cell_id", "length"))
    for sweep, cell_id, length in zip(*columns, strict=True):
        if (sweep, cell_id) not in shown:
            lengths[sweep, cell_id].add(length)
    if not lengths:
        return ""
    counts = Counter(length for tested in lengths.values() for length in tested)
    length = max(length for length, count in counts.items() if 2 * count >= max(counts.values()))
    were = "all were" if counts[length] == len(lengths) else f"{counts[length]} were"
    return f"\nleft out: {plural(len(lengths), 'cell')} not tested at the length shown; {were} at length {length}"


def _note_on_lost(cells: Sequence[Cell], seeds: Seeds) -> str:
    lost = lost_by_status(cells, seeds)
    counts = ", ".join(f"{count} {status}" for status, count in lost.items())
    return f"\n† some seeds at the selected learning rate have no number: {counts}" if lost else ""


def _note_on_nonfinite(cells: Sequence[Cell], seeds: Seeds) -> str:
    count = sum(map(seeds.is_nonfinite, cells))
    return f"\n‡ some logits were not finite, and count as wrong: {plural(count, 'number')}" if count else ""


def _note_on_mixtures(cells: Sequence[Cell], store: Path | str | OpenStore, *, is_marked: bool) -> str:
    """Say how many cells have trials of several versions, or of different hardware, and what to do."""
    versions = {(cell["sweep"], cell["cell_id"]): cell["mixed"] for cell in cells if cell["mixed"]}
    hardware = {(cell["sweep"], cell["cell_id"]) for cell in cells if cell["mixed_hardware"]}
    note = ""
    if versions:
        texts = list(dict.fromkeys(versions.values()))
        shown = " | ".join(texts[:_MAX_MIXTURES]) + (" | …" if len(texts) > _MAX_MIXTURES else "")
        mark = "* " if is_marked else ""
        note += f"\n{mark}trials of several versions in {plural(len(versions), 'cell')}: {shown}"
        note += "\nto run those of other versions than the installed ones again:"
        for sweep in sorted({sweep for sweep, _ in versions}):
            grid = SweepFolder(Path(str(store)) / sweep).grid
            words = ["bilin", "sweep", "launch", str(grid), "--rerun-stale", *store_option(str(store))]
            note += f"\n  {shlex.join(words)}"
    if hardware:
        note += f"\ntrials of several CPUs or GPUs in {plural(len(hardware), 'cell')}: see mixed_hardware in `cells`"
    return note
