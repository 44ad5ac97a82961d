"""The cells of a store beside the published accuracies of the same task and tier."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilin.errors import QueryError, nearest
from bilin.results.published import SOURCES, published
from bilin.results.result_table import ResultTable
from bilin.results.schema import table_of
from bilin.results.sql.query import query
from bilin.units import plural

_SAME = ("m", "block_size", "rank", "layers", "mixer", "mixer_rank", "eigenvalues")
"""Fields that a cell must share with a published accuracy, if the paper states them."""

_SIZES = ("hidden", "max_steps")
"""Fields that may differ, which is then said."""

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
        "mean": pa.float64(),
        "published": pa.float64(),
        "difference": pa.float64(),
        "differs_in": pa.string(),
        "source": pa.string(),
    }
)

_Row = Mapping[str, Any]


def beside_published(
    store: Path | str, *, sweep: str | None, everything: bool, source: str | None = None
) -> ResultTable:
    """Return the cells for which an accuracy is published, with both, their difference, and the sizes that differ.

    A store that does not exist yet has no cells. Without a source, all are looked at.

    Raises:
        StoreError: The sweep does not exist, or the store cannot be read.
    """
    is_missing = sweep is None and not Path(store).exists()
    cells = [] if is_missing else query(store=store, view="cells", sweep=sweep, everything=everything).to_pylist()
    numbers = [number for number in _published() if source in (None, number["source"])]
    rows = [_row(cell, number) for cell in cells for number in _matches(cell, numbers)]
    note = "accuracies at the selected learning rate, scaled so that chance is 0" if rows else _why_none(cells, numbers)
    data = table_of(rows, _COLUMNS)
    shown = [name for name in _COLUMNS.names if not rows or data[name].null_count < len(rows)]
    table = ResultTable.of(data.select(shown))
    return ResultTable(data=table.data, columns=table.columns if rows else [], note=note)


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
    """Return the source of published accuracies that a name means: the whole of it, or a part of it alone.

    Args:
        name: The name.
        others: The sweeps that it might have meant instead.

    Raises:
        QueryError: No source has the name, or several do. The message lists the sources, and the sweeps.
    """
    sources = list(SOURCES.values())
    found = [source for source in sources if name.lower() in source.lower()]
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


def _row(cell: _Row, number: _Row) -> tuple[Any, ...]:
    mean, other = cell["mean"], number["accuracy_scaled"]
    values = {
        **cell,
        "published": other,
        "difference": None if mean is None else mean - other,
        "differs_in": ", ".join(_differences(cell, number)) or None,
        "source": number["source"],
    }
    return tuple(values.get(name) for name in _COLUMNS.names)


def _differences(cell: _Row, number: _Row) -> Iterator[str]:
    """Yield what a cell has otherwise than the paper, as far as the paper states it."""
    for name in _SIZES:
        if number[name] is not None and cell.get(name) != number[name]:
            yield f"{name} {cell.get(name)} (published {number[name]})"
    if number["length"] is None:
        yield f"length {cell['length']} (published for 40 to 256 together)"
