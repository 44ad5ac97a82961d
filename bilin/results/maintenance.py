"""Changes to sweeps at rest: remove trials, merge parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa

from bilin.results.sql.query import query
from bilin.results.store.paths import sweep_folders
from bilin.results.store.writer import SweepWriter


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
        sweep: The sweep to look at; None looks at all.
        everything: Include rows that the grid as last launched does not want.
        dry_run: Change nothing.

    Returns:
        The rows that were removed, or would be.

    Raises:
        QueryError: The condition is not valid.
        StoreError: The store or sweep does not exist, or cannot be read.
        SweepRunningError: A sweep with such rows is being written; nothing was removed from any sweep.
    """
    rows = query(store=store, view="trials", where=where, sweep=sweep, everything=everything)
    if not dry_run:
        remove(store, rows)
    return rows


def remove(store: Path | str, rows: pa.Table) -> None:
    """Remove the trials that `delete` has returned, and no others. Raises as it does.

    Args:
        store: Directory of the store.
        rows: Rows of the view `trials`.
    """
    trials: dict[str, list[str]] = {}
    for sweep, trial_id in zip(rows["sweep"].to_pylist(), rows["trial_id"].to_pylist(), strict=True):
        trials.setdefault(sweep, []).append(trial_id)
    with _writers(store, trials, "bilin results delete") as writers:
        for sweep, writer in writers.items():
            writer.delete(trials[sweep])


def compact(store: Path | str, sweep: str | None = None) -> Mapping[str, int]:
    """Merge all parts of a sweep into one.

    Args:
        store: Directory of the store.
        sweep: The sweep to compact; None compacts all.

    Returns:
        How many parts each sweep had.

    Raises:
        StoreError: The store or sweep does not exist, or cannot be read or written.
        SweepRunningError: A sweep is being written; no sweep was changed.
    """
    sweeps = [folder.name for folder in sweep_folders(store, sweep)]
    with _writers(store, sweeps, "bilin results compact") as writers:
        return {name: writer.compact() for name, writer in writers.items()}


@contextmanager
def _writers(store: Path | str, sweeps: Iterable[str], command: str) -> Iterator[Mapping[str, SweepWriter]]:
    """Open writers of several sweeps, or of none."""
    with ExitStack() as stack:
        yield {sweep: stack.enter_context(SweepWriter(store, sweep, command=command)) for sweep in sweeps}
