"""How far a sweep is, from what its grid wants and what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bilin.record import RERUN_STATUSES, RESULT_STATUSES
from bilin.results.sql.query import query
from bilin.results.store.contents import last_wanted
from bilin.results.store.lock import holder
from bilin.results.store.rows import WantedRow
from bilin.units import plural

_TRIALS = """
SELECT sweep, cell_id, status, selected, list(length) AS lengths
FROM trials LEFT JOIN lengths USING (sweep, trial_id) GROUP BY sweep, trial_id, cell_id, status, selected
"""


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


def standings(store: Path | str, sweeps: Sequence[str], to_run: Mapping[str, int] | None = None) -> list[Standing]:
    """Return how far each sweep is. The store does not say which pruned trials go on: see ``to_run`` of `report`.

    Raises:
        StoreError: A sweep cannot be read.
    """
    trials: dict[str, list[dict[str, Any]]] = {sweep: [] for sweep in sweeps}
    for row in query(_TRIALS, store=store).to_pylist():
        if row["sweep"] in trials:
            trials[row["sweep"]].append(row)
    return [_standing(store, sweep, rows, (to_run or {}).get(sweep, 0)) for sweep, rows in trials.items()]


def _standing(store: Path | str, sweep: str, trials: Sequence[Mapping[str, Any]], num_to_run: int) -> Standing:
    wanted = last_wanted(store, sweep)
    running = holder(store, sweep)
    if running:
        missing = f"it was still running when this page was written ({running.place})"
    elif wanted is None:
        missing = "no grid is stored, so it is not known which trials are missing"
    else:
        missing = _missing(wanted, trials) or (f"{plural(num_to_run, 'trial')} still to run" if num_to_run else "")
    return Standing(
        sweep=sweep,
        num_cells=len({row["cell_id"] for row in trials} if wanted is None else wanted),
        statuses=Counter(row["status"] for row in trials),
        missing=missing,
        is_running=running is not None,
    )


def _missing(wanted: Mapping[str, WantedRow], trials: Sequence[Mapping[str, Any]]) -> str:
    """Say which trials have not run, given those of the store that the grid asks for."""
    lists = [row.points or row.lrs for row in wanted.values()]
    num_wanted = sum(len(points or ()) * len(row.seeds) for points, row in zip(lists, wanted.values(), strict=True))
    in_search = {cell_id for cell_id, points in zip(wanted, lists, strict=True) if points is None}
    num_listed = sum(row["cell_id"] not in in_search and row["status"] not in RERUN_STATUSES for row in trials)
    num_to_test = sum(
        row["selected"] and row["status"] == "done" and not {*wanted[row["cell_id"]].test_lengths} <= {*row["lengths"]}
        for row in trials
    )
    statuses: dict[str, set[str]] = {}
    for row in trials:
        statuses.setdefault(row["cell_id"], set()).add(row["status"])
    num_pruned = sum(found == {"pruned"} for found in statuses.values())  # of a finished cell, a trial ran to the end
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
