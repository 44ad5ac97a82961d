"""Give a sweep another name."""

from __future__ import annotations

import json
from pathlib import Path

from bilin.orchestrator.clusters.slurm.job import check_no_job
from bilin.results import DEFAULT_STORE, SweepWriter, existing_sweep, stored_grid


def rename(sweep: str, name: str, *, store: Path | str = DEFAULT_STORE) -> None:
    """Give a sweep another name, in one step: with its results, checkpoints and logs.

    Raises:
        StoreError: There is no such sweep, or the new name is taken or cannot be a name.
        SweepRunningError: A process runs the sweep, or a job of it waits or runs.
    """
    folder = existing_sweep(store, sweep)
    check_no_job(folder)
    with SweepWriter(store, sweep, command="bilin sweep rename", exists=True) as writer:
        writer.rename(name)
        document = json.loads(stored_grid(store, name) or "null")
        if isinstance(document, dict):
            writer.write_grid(json.dumps({**document, "name": name}, indent=1, allow_nan=False) + "\n")
