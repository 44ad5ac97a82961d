"""What is stored of a sweep, as its orchestrator needs it: one small object a trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bilin.record import Status
from bilin.results.store.contents import Contents, read_sweeps
from bilin.results.store.parts.files import read_columns
from bilin.results.store.paths import sweep_directory
from bilin.results.store.wanted import WantedRow, wanted_rows


@dataclass(slots=True)
class StoredTrial:
    """What is stored of one trial. Not frozen, since that doubles the time to read a large sweep.

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
    """The trials of a sweep by their ids, the superseded ones left out; empty where it has not begun.

    Warns:
        DamageWarning: Of each file that is damaged; its trials are left out.

    Raises:
        StoreError: The system does not let the sweep be read.
    """
    return read_sweeps([sweep_directory(store, sweep)], _read)


def wanted(store: Path | str, sweep: str) -> list[WantedRow] | None:
    """What the grid wants, a cell at a time; None where no grid was launched, or what it wants is damaged."""
    table = read_sweeps([sweep_directory(store, sweep)], lambda sweeps: sweeps[0].wanted)
    return None if table is None else wanted_rows(table)


def grid(store: Path | str, sweep: str) -> str | None:
    """The resolved grid of a sweep as it was last launched; None where there was none, or it is damaged."""
    return read_sweeps([sweep_directory(store, sweep)], lambda sweeps: sweeps[0].grid)


def _read(sweeps: Sequence[Contents]) -> dict[str, StoredTrial]:
    (sweep,) = sweeps
    paths = [part.trials_path(sweep.directory) for part in sweep.manifest.parts]
    tables = [read_columns(path, [*_COLUMNS, "tested"]) for path in paths]
    return {trial.trial_id: trial for table in tables for trial in _trials(table)}


def _trials(table: pa.Table) -> Iterator[StoredTrial]:
    columns = [table[name].to_pylist() for name in _COLUMNS]
    for values, tested in zip(zip(*columns, strict=True), _tested(table["tested"]), strict=True):
        yield StoredTrial(*values, tested)  # type: ignore[call-arg]


def _tested(column: pa.ChunkedArray) -> Iterator[Mapping[int, int]]:
    """The tested lengths of each trial; trials that were tested alike share one mapping."""
    shared: dict[tuple[tuple[int, ...], tuple[int, ...]], Mapping[int, int]] = {}
    for chunk in column.chunks:
        items = chunk.flatten()
        lengths = tuple(items.field("length").to_pylist())
        counts = tuple(items.field("num_sequences").to_pylist())
        sizes = chunk.value_lengths().to_pylist()
        start = 0
        for size in sizes:
            key = (lengths[start : start + size], counts[start : start + size])
            start += size
            mapping = shared.get(key)
            if mapping is None:
                mapping = shared[key] = dict(zip(*key, strict=True))
            yield mapping
