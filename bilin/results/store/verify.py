"""Reading all of a store, to know that it is whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bilin.results.schema import CURVES, trials_schema
from bilin.results.store.contents import Contents, read_sweeps
from bilin.results.store.manifest import Part
from bilin.results.store.parts.found import read_wholly
from bilin.results.store.paths import existing_sweep, sweep_directory, sweep_names
from bilin.results.store.whole import ASIDE, UNREADABLE, unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How whole a sweep is.

    Attributes:
        num_parts: The parts that are whole, with ``num_trials`` rows of trials and ``num_curves`` of curves.
        num_aside: Files that writers set aside before.
        damage: A line for each file that is not whole.
    """

    sweep: str
    num_parts: int
    num_trials: int
    num_curves: int
    num_aside: int
    damage: Sequence[str]


def verify(store: Path | str, sweep: str | None = None) -> list[Health]:
    """Read every file of a store that counts, every value in it, and hold them against each other.

    Args:
        store: Directory of the store.
        sweep: The one sweep to look at; None looks at all.

    Raises:
        StoreError: The store or sweep is not there, or the system does not let it be read.
    """
    if sweep is None:
        directories = [sweep_directory(store, name) for name in sweep_names(store)]
    else:
        directories = [existing_sweep(store, sweep)]
    return [read_sweeps([directory], _health, curves=True, warn=False) for directory in directories]


def _health(sweeps: Sequence[Contents]) -> Health:
    (sweep,) = sweeps
    parts = sweep.manifest.parts
    aside = sweep.directory / ASIDE
    return Health(
        sweep=sweep.directory.name,
        num_parts=len(parts),
        num_trials=sum(part.trials for part in parts),
        num_curves=sum(part.curves for part in parts),
        num_aside=sum(1 for _ in aside.iterdir()) if aside.is_dir() else 0,
        damage=[
            *(f"{damage}: {damage.read}" for damage in sweep.damage),
            *(line for part in parts for line in _faults(sweep.directory, part)),
        ],
    )


def _faults(directory: Path, part: Part) -> Iterator[str]:
    """What is wrong with a part whose files are those that were written."""
    trials, curves = part.trials_path(directory), part.curves_path(directory)
    try:
        ids = _ids(trials, trials_schema(), part.trials)
        of_curves = _ids(curves, CURVES, part.curves) if part.curves else ids.slice(0, 0)
    except UNREADABLE as error:
        yield f"a part of {trials} {unreadable(error)}"
        return
    if len(pc.unique(ids)) < len(ids):
        yield f"{trials} has a trial twice"
    if not pc.all(pc.is_in(of_curves, value_set=ids.combine_chunks()), min_count=0).as_py():
        yield f"{curves} has curves of trials that {trials.name} has not"


def _ids(path: Path, schema: pa.Schema, num_rows: int) -> pa.ChunkedArray:
    ids = read_wholly(path, schema)["trial_id"]
    if len(ids) != num_rows:
        raise ValueError(f"{path} has {len(ids)} rows, and the manifest lists {num_rows}")
    return ids
