"""The cells of a store beside the published accuracies of the same task and tier."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilin.errors import QueryError, nearest
from bilin.folder import DEFAULT_STORE
from bilin.results.published import SOURCES, published
from bilin.results.result_table import ResultTable, readable
from bilin.results.schema import table_of
from bilin.results.sql.open_store import OpenStore, at_one_moment
from bilin.results.sql.query import query
from bilin.results.tables.layout import Cell
from bilin.results.tables.measures import Seeds
from bilin.units import plural

_SAME = ("m", "block_size", "rank", "layers", "mixer", "mixer_rank", "eigenvalues")
"""Fields that a cell must share with a published accuracy, if the paper states them."""

_PROTOCOL = ("hidden", "max_steps", "schedule", "normalize", "stop_when_solved")
"""Fields that may differ, which is then said."""

TOLERANCE = 0.02
"""Up to this difference, an accuracy agrees with the published one."""

_COLUMNS = pa.schema(
    {
        "sweep": pa.string(),
        "task": pa.string(),
        "m": pa.int64(),
        "tier": pa.string(),
        "block_size": pa.int64(),
        "rank": pa.int64(),
        "layers": pa.int64(),
        "length": pa.int64(),
        "num_seeds": pa.int64(),
        "num_solved": pa.int64(),
        "mean": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "published": pa.float64(),
        "difference": pa.float64(),
        "mark": pa.string(),
        "differs_in": pa.string(),
        "source": pa.string(),
    }
)

_Row = Mapping[str, Any]


def beside_published(
    store: Path | str, *, sweep: str | None, everything: bool, source: str | None, tolerance: float
) -> ResultTable:
    """Return the cells for which an accuracy is published, with both, their difference, and what differs.

    With a source and no sweep, each accuracy of the source has a row, whether the store has such a cell or not. The
    default store has no cells if it does not exist yet.

    Raises:
        StoreError: The sweep does not exist, or the store cannot be read.
    """
    cells: list[Cell] = []
    if sweep is not None or Path(store) != DEFAULT_STORE or DEFAULT_STORE.exists():

        def ask(opened: OpenStore) -> list[Cell]:
            found = query(store=opened, view="cells", sweep=sweep, everything=everything).to_pylist()
            return Seeds(opened, sweep=sweep, everything=everything).with_wilson(found)

        cells = at_one_moment(store, ask, sweeps=[sweep] if sweep else ())
    numbers = [number for number in _published() if source in (None, number["source"])]
    rows = list(_rows(cells, numbers, tolerance, with_missing=source is not None and sweep is None))
    data = table_of([tuple(row.get(name) for name in _COLUMNS.names) for row in rows], _COLUMNS)
    shown = [name for name in _COLUMNS.names if not rows or data[name].null_count < len(rows)]
    columns = ResultTable.of(data.select(shown)).columns if rows else []
    note = _summary(rows, tolerance) if rows else _why_none(cells, numbers)
    return ResultTable(data=data.select(shown), columns=columns, note=note)


def _rows(
    cells: Sequence[_Row], numbers: Sequence[_Row], tolerance: float, *, with_missing: bool
) -> Iterator[dict[str, Any]]:
    """Yield a row for each cell with a published accuracy, in the order of the publication."""
    found: dict[int, list[_Row]] = {}
    for cell in cells:
        for number in _matches(cell, numbers):
            found.setdefault(id(number), []).append(cell)
    for number in numbers:
        for cell in found.get(id(number), [{}] if with_missing else []):
            values = {**number, **cell, "published": number["accuracy_scaled"], "source": number["source"]}
            mean = cell.get("mean")
            if mean is not None:
                values["difference"] = mean - number["accuracy_scaled"]
                values["differs_in"] = ", ".join(_differences(cell, number)) or None
            yield {**values, "mark": _mark(values, tolerance)}


def _mark(row: _Row, tolerance: float) -> str:
    """Return how a cell compares: unclear if it differs, but its interval contains the published accuracy."""
    difference, low, high = (row.get(name) for name in ("difference", "low", "high"))
    if difference is None:
        return "not run"
    if abs(difference) <= tolerance:
        return "agrees"
    if low is not None and high is not None and low <= row["published"] <= high:
        return "unclear"
    return "better" if difference > 0 else "worse"


def _summary(rows: Sequence[_Row], tolerance: float) -> str:
    """Return how many rows have each mark, and what the numbers are."""
    counts = Counter(row["mark"] for row in rows)
    marks = ", ".join(
        f"{counts[mark]} {'agree' if mark == 'agrees' and counts[mark] > 1 else mark}"
        for mark in ("better", "agrees", "unclear", "worse", "not run")
        if counts[mark]
    )
    return (
        f"{plural(len(rows), 'row')}: {marks} (agrees: within {tolerance:g})\n"
        "accuracies at the selected learning rate, scaled so that chance is 0; low and high: the 95 % interval, over "
        "the seeds (t), or for one seed over its sequences (Wilson)"
    )


def _why_none(cells: Sequence[_Row], numbers: Sequence[_Row]) -> str:
    """Return why no cell has a published accuracy."""
    other_lengths = [(cell, number) for cell in cells for number in _matches(cell, numbers, at_any_length=True)]
    if not other_lengths:
        shown = f"`bilin results query --view published` shows the {len(numbers)} that there are"
        return f"no cell has a published accuracy of its task, tier and fields; {shown}"
    tested, stated = (sorted({pair[side]["length"] for pair in other_lengths}) for side in (0, 1))
    count = len({(cell["sweep"], cell["cell_id"]) for cell, _ in other_lengths})
    return (
        f"{plural(count, 'cell')} would have a published accuracy at length {_listed(stated)}; tested: "
        f"{_listed(tested)}. Add the length to `test.lengths` of the grid and launch it again"
    )


def _listed(lengths: Sequence[int]) -> str:
    return ", ".join(map(str, lengths))


def source_of(name: str, others: Sequence[str] | None = None) -> str:
    """Return the source of published accuracies that a name means: a part of its name or of that of its file.

    Args:
        name: The name.
        others: The sweeps that it might have meant instead.

    Raises:
        QueryError: No source has the name, or several do. The message lists the sources, and the sweeps.
    """
    sources = list(SOURCES.values())
    found = [source for file, source in SOURCES.items() if name.lower() in f"{file} {source}".lower()]
    if len(found) == 1:
        return found[0]
    near = nearest(name, [*(others or ()), *(word for source in sources for word in source.split())])
    head = (
        f"{name!r} names {len(found)} papers"
        if found
        else f"no {'paper' if others is None else 'sweep or paper'} {name!r}{near}"
    )
    sweeps = f"the sweeps {', '.join(others)}; " if others else ""
    raise QueryError(
        f"{head}; accepted: {sweeps}a part of the name of one paper, as in 2505.21749: {'; '.join(sources)}"
    )


def published_for(cell: _Row, source: str) -> float | None:
    """Return the accuracy that a source gives for what a cell is."""
    numbers = [number for number in _published() if number["source"] == source]
    return next((number["accuracy_scaled"] for number in _matches(cell, numbers)), None)


@functools.cache
def _published() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = published().to_pylist()
    return rows


def _matches(cell: _Row, numbers: Sequence[_Row], *, at_any_length: bool = False) -> Iterator[_Row]:
    """Yield the published accuracies of what a cell is."""
    for number in numbers:
        fields = ("task", "tier", *(name for name in _SAME if number[name] is not None))
        same_length = at_any_length or number["length"] in (None, cell["length"])
        if same_length and all(cell.get(name) == number[name] for name in fields):
            yield number


def _differences(cell: _Row, number: _Row) -> Iterator[str]:
    """Yield what a cell has otherwise than the paper, as far as the paper states it."""
    for name in _PROTOCOL:
        if number[name] is not None and cell.get(name) != number[name]:
            yield f"{name} {readable(cell.get(name))} (published {readable(number[name])})"
    if number["length"] is None:
        yield f"length {cell['length']} (published for 40 to 256 together)"
