"""What the store is told of a sweep beside its results: the grid, and which trials it wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bilin.orchestrator.grid import Choices, LogUniform, WantedCell, resolved, restore_grid
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.results import SweepWriter, WantedRow, stored


def keep_grid(writer: SweepWriter, current: Plan, *, ended: bool) -> None:
    """Store what the grid wants now: all of it, also where ``only`` narrowed this launch to a part.

    While a sweep runs its searches may name any of their rates; when it has ended, those that they named.
    """
    text, cells, named = resolved(current.grid), current.grid.cells, {}
    if not current.grid.is_whole:  # of the cells outside of the part, whose searches stand still
        whole = make_plan(restore_grid(text), stored(writer.directory.parent, writer.directory.name))
        cells, named = whole.grid.cells, {cell.wanted.cell_id: cell.rates for cell in whole.cells}
    for cell in current.cells:
        if ended:
            named[cell.wanted.cell_id] = cell.rates
        else:
            named.pop(cell.wanted.cell_id, None)
    writer.write_wanted(_rows(cells, named))
    writer.write_grid(text)


def _rows(cells: Iterable[WantedCell], named: Mapping[str, tuple[float, ...]]) -> Iterator[WantedRow]:
    for cell in cells:
        search = cell.learning_rate
        rates = named.get(cell.cell_id, search.choices if isinstance(search, Choices) else None)
        yield WantedRow(
            cell_id=cell.cell_id,
            lrs=rates,
            lr_low=search.low if rates is None and isinstance(search, LogUniform) else None,
            lr_high=search.high if rates is None and isinstance(search, LogUniform) else None,
            seeds=cell.seeds,
            num_trials=cell.max_trials,
            test_lengths=cell.test.lengths,
            num_sequences=cell.test.num_sequences,
        )
