"""Removing rows that a condition picks out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from bilin.results.sql import query
from bilin.results.store import SweepWriter


def delete(
    store: Path | str,
    where: str,
    *,
    sweep: str | None = None,
    everything: bool = False,
    dry_run: bool = False,
) -> pa.Table:
    """Remove the trials that `query` finds, with their curves; the next launch runs them again.

    Args:
        store: Directory of the store.
        where: A condition in SQL over the view `trials`.
        sweep: The one sweep to look at; None looks at all.
        everything: Also rows that the grid as it was last launched does not want.
        dry_run: Change nothing.

    Returns:
        The rows that were removed, or would be.

    Raises:
        QueryError: The condition cannot be understood.
        StoreError: The store or sweep is not there, or cannot be read.
        SweepRunningError: A sweep with such rows is being written; nothing was removed from any.
    """
    rows = query(store=store, view="trials", where=where, sweep=sweep, everything=everything)
    if not dry_run:
        remove(store, rows)
    return rows


def remove(store: Path | str, rows: pa.Table) -> None:
    """Remove trials that `delete` has found, and no others. Raises as it does.

    Args:
        store: Directory of the store.
        rows: Rows of the view `trials`.
    """
    doomed: dict[str, list[str]] = {}
    for name, trial_id in zip(rows["sweep"].to_pylist(), rows["trial_id"].to_pylist(), strict=True):
        doomed.setdefault(name, []).append(trial_id)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(SweepWriter(store, name, command="bilin results delete")) for name in doomed
        }
        for name, trial_ids in doomed.items():
            writers[name].delete(trial_ids)
