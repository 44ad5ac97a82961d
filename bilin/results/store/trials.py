"""What is stored of one sweep: one small object per trial, what the grid wants, and the grid itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bilin.folder import SweepFolder
from bilin.record import Status
from bilin.results.store.contents import Contents, read_sweeps
from bilin.results.store.parts import read_columns
from bilin.results.store.rows import WantedRow, wanted_rows


@dataclass(slots=True)
class StoredTrial:
    """What is stored of one trial. Not frozen: that would double the time to read a large sweep.

    Attributes:
        tested: The number of sequences at each tested length.
    """

    trial_id: str
    cell_id: str
    lr: float
    seed: int
    status: Status
    attempts: int
    solved: bool
    validation_accuracy: float | None
    training_loss: float | None
    steps: int
    wall_s: float
    tested: Mapping[int, int]


_COLUMNS = [name for name in StoredTrial.__slots__ if name != "tested"]


def stored(store: Path | str, sweep: str) -> dict[str, StoredTrial]:
    """Return the trials of a sweep by their ids, without superseded ones; none if it has not begun.

    Warns:
        DamageWarning: For each damaged file, whose trials are skipped.

    Raises:
        StoreError: The system does not let the sweep be read.
    """
    return read_sweeps([SweepFolder.of(store, sweep)], _trials)


def stored_wanted(store: Path | str, sweep: str) -> list[WantedRow] | None:
    """Return what the grid as last launched wants; None if none was launched, or the file is damaged."""
    table = read_sweeps([SweepFolder.of(store, sweep)], lambda sweeps: sweeps[0].wanted)
    return None if table is None else wanted_rows(table)


def stored_grid(store: Path | str, sweep: str) -> str | None:
    """Return the resolved grid as last launched; None if none was launched, or the file is damaged."""
    return read_sweeps([SweepFolder.of(store, sweep)], lambda sweeps: sweeps[0].grid)


def _trials(sweeps: Sequence[Contents]) -> dict[str, StoredTrial]:
    (sweep,) = sweeps
    trials: dict[str, StoredTrial] = {}
    for part in sweep.manifest.parts:
        table = read_columns(sweep.folder.trials_part(part.number), [*_COLUMNS, "tested"])
        columns = [table[name].to_pylist() for name in _COLUMNS]
        for values, tested in zip(zip(*columns, strict=True), _tested(table["tested"]), strict=True):
            trial = StoredTrial(*values, tested)  # type: ignore[call-arg]
            trials[trial.trial_id] = trial
    return trials


def _tested(column: pa.ChunkedArray) -> Iterator[Mapping[int, int]]:
    """Yield the tested lengths of each trial; trials with the same ones share one mapping."""
    shared: dict[tuple[tuple[int, ...], tuple[int, ...]], Mapping[int, int]] = {}
    for chunk in column.chunks:
        items = chunk.flatten()
        lengths = tuple(items.field("length").to_pylist())
        counts = tuple(items.field("num_sequences").to_pylist())
        start = 0
        for size in chunk.value_lengths().to_pylist():
            key = (lengths[start : start + size], counts[start : start + size])
            start += size
            mapping = shared.get(key)
            if mapping is None:
                mapping = shared[key] = dict(zip(*key, strict=True))
            yield mapping
