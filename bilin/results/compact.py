"""Making one part of many, in sweeps at rest."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from bilin.results.store import SweepWriter, existing_sweep, sweep_names


def compact(store: Path | str, sweep: str | None = None) -> Mapping[str, int]:
    """Merge all parts of a sweep into one.

    Args:
        store: Directory of the store.
        sweep: The one sweep to compact; None compacts all.

    Returns:
        How many parts each sweep had.

    Raises:
        StoreError: The store or sweep is not there, or cannot be read or written.
        SweepRunningError: A sweep is being written; none was changed.
    """
    names = sweep_names(store) if sweep is None else [existing_sweep(store, sweep).name]
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(SweepWriter(store, name, command="bilin results compact")) for name in names
        }
        return {name: writer.compact() for name, writer in writers.items()}
