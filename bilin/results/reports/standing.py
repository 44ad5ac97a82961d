"""How far a sweep is, from what its grid wants and what is stored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bilin.record import RERUN_STATUSES, RESULT_STATUSES
from bilin.results.sql.open_store import OpenStore, at_one_moment
from bilin.results.sql.query import query
from bilin.results.store.lock import holder
from bilin.results.store.rows import WantedRow, wanted_rows
from bilin.units import plural

_TRIALS = "SELECT sweep, cell_id, selected, status, count(*) AS n FROM trials GROUP BY ALL"

_TESTED = """
SELECT sweep, cell_id, count(*) AS n
FROM (
  SELECT sweep, cell_id, seed, count(*) AS num_lengths
  FROM (SELECT sweep, cell_id, unnest(seeds) AS seed FROM _cells_at_length) GROUP BY ALL
)
JOIN _asked USING (sweep, cell_id) WHERE num_lengths = len(test_lengths) GROUP BY ALL
"""
"""How many trials at the selected point have every length that the grid wants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a sweep is.

    Attributes:
        num_cells: Cells that its grid asks for, or if no grid is stored, that have trials.
        statuses: Its trials that the grid asks for, by status.
        missing: Which trials have not run; empty if all have.
        is_running: Whether a process writes it.
    """

    sweep: str
    num_cells: int
    statuses: Mapping[str, int]
    missing: str
    is_running: bool

    @property
    def num_failed(self) -> int:
        """Trials that ended without a result, and that only `--retry` runs again."""
        return sum(count for status, count in self.statuses.items() if status not in RESULT_STATUSES | RERUN_STATUSES)

    @property
    def state(self) -> str:
        """The state in a word, as `bilin sweep status` says it."""
        if self.missing:
            return "running" if self.is_running else "incomplete"
        return "failed" if self.num_failed else "complete"

    @property
    def warning(self) -> str:
        """What a reader must know before using the numbers; empty if every trial has a result."""
        failed = f"{plural(self.num_failed, 'trial')} failed" if self.num_failed else ""
        return "; ".join(filter(None, (self.missing, failed)))


def standings(
    store: Path | str | OpenStore, sweeps: Sequence[str] = (), to_run: Mapping[str, int] | None = None
) -> list[Standing]:
    """Return how far each sweep is, or some sweeps. The store does not say which pruned trials go on: see `report`.

    Raises:
        StoreError: A sweep does not exist, or cannot be read.
    """
    return at_one_moment(store, lambda opened: _standings(opened, to_run or {}), sweeps=sweeps)


def _standings(opened: OpenStore, to_run: Mapping[str, int]) -> list[Standing]:
    statuses: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    num_to_test = Counter[str]()
    for row in query(_TRIALS, store=opened).to_pylist():
        statuses[row["sweep"]][row["cell_id"]][row["status"]] += row["n"]
        if row["selected"] and row["status"] == "done":
            num_to_test[row["sweep"]] += row["n"]
    for row in query(_TESTED, store=opened).to_pylist():
        num_to_test[row["sweep"]] -= row["n"]
    found = []
    for sweep in opened.sweeps:
        name = sweep.folder.name
        wanted = None if sweep.wanted is None else {row.cell_id: row for row in wanted_rows(sweep.wanted)}
        running = holder(opened.path, name)
        if running:
            missing = f"it was still running when this page was written ({running.place})"
        elif wanted is None:
            missing = "no grid is stored, so it is not known which trials are missing"
        else:
            missing = _missing(wanted, statuses[name], num_to_test[name])
            missing = missing or (f"{plural(to_run[name], 'trial')} still to run" if to_run.get(name) else "")
        found.append(
            Standing(
                sweep=name,
                num_cells=len(statuses[name] if wanted is None else wanted),
                statuses=sum(statuses[name].values(), Counter[str]()),
                missing=missing,
                is_running=running is not None,
            )
        )
    return found


def _missing(wanted: Mapping[str, WantedRow], statuses: Mapping[str, Counter[str]], num_to_test: int) -> str:
    """Say which trials have not run, given how many that the grid wants each cell has by their status."""
    lists = [row.points or row.lrs for row in wanted.values()]
    num_wanted = sum(len(points or ()) * len(row.seeds) for points, row in zip(lists, wanted.values(), strict=True))
    in_search = {cell_id for cell_id, points in zip(wanted, lists, strict=True) if points is None}
    listed = [of_cell for cell_id, of_cell in statuses.items() if cell_id not in in_search]
    num_listed = sum(count for of_cell in listed for status, count in of_cell.items() if status not in RERUN_STATUSES)
    num_pruned = sum(of_cell.keys() == {"pruned"} for of_cell in statuses.values())  # a finished cell has others
    return "; ".join(
        text
        for count, text in (
            (num_wanted - num_listed, f"{num_wanted - num_listed} of {plural(num_wanted, 'trial')} not run yet"),
            (len(in_search), f"learning rates of {plural(len(in_search), 'cell')} still being searched"),
            (num_pruned, f"{plural(num_pruned, 'cell')} in which no trial has run to its end"),
            (num_to_test, f"{plural(num_to_test, 'trial')} at a selected rate not tested at every length"),
        )
        if count
    )
