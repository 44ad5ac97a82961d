"""Results that other sweeps of a store have: an id says what was measured, so a sweep takes them over.

A row that is taken over is a copy. So each sweep counts its own rows, and deleting from one sweep leaves the others as
they are. Only columns that are needed are read, and only of sweeps that have some of the cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bilin.errors import StoreError
from bilin.folder import SWEEP_NAME, SweepFolder
from bilin.record import RESULT_STATUSES
from bilin.results.schema import CURVES, conform, trials_schema, unite
from bilin.results.store.contents import Contents, StoredTrial, begun, existing_sweep, read_sweeps, stored_trials
from bilin.results.store.durable import UNREADABLE, DamageError
from bilin.results.store.manifest import read_manifest
from bilin.results.store.parts import read_columns, stream_rows


class UnreadableSweepError(StoreError):
    """Another sweep of the store cannot be read; its results are not needed, they only save work."""


def shared_trials(
    store: Path | str, without: Collection[str], cell_ids: Collection[str]
) -> Mapping[str, Sequence[StoredTrial]]:
    """Return the results that the sweeps of a store, ``without`` some, have of some cells, by the id of the cell.

    Sweeps that are damaged, or cannot be read, are left out.
    """
    found: dict[str, list[StoredTrial]] = {}
    wanted = pa.array(cell_ids, pa.string())
    for folder in _other_sweeps(Path(store), {*without}):
        if not _may_have(folder, wanted):
            continue
        try:
            trials = read_sweeps(begun(folder), stored_trials, warn=False)
        except StoreError:
            continue  # then there is less to copy
        for trial in trials.values():
            if trial.cell_id in cell_ids and trial.status in RESULT_STATUSES - {"pruned"}:
                trial.found_in = folder.name
                found.setdefault(trial.cell_id, []).append(trial)
    return found


def read_shared(folder: SweepFolder, trial_ids: Collection[str]) -> tuple[pa.Table, pa.Table]:
    """Return the rows of some trials of a sweep, which say where they were found, and their curves.

    Raises:
        UnreadableSweepError: The sweep cannot be read.
    """
    try:
        return read_sweeps(
            lambda: [existing_sweep(folder.store, folder.name)],
            lambda sweeps: _rows_of(sweeps[0], trial_ids),
            curves=True,
            warn=False,
        )
    except (StoreError, *UNREADABLE) as error:
        raise UnreadableSweepError(f"the results of sweep {folder.name!r} cannot be copied: {error}") from error


def _other_sweeps(store: Path, without: set[str]) -> Iterator[SweepFolder]:
    """Yield the sweeps of a store without some; also those that get a new name meanwhile."""
    while names := sorted({path.name for path in store.iterdir()} - without) if store.is_dir() else []:
        without |= {*names}
        for folder in (SweepFolder(store / name) for name in names if SWEEP_NAME.fullmatch(name)):
            with suppress(OSError):  # the folder of another user, that this one may not read
                if folder.has_results:
                    yield folder


def _may_have(folder: SweepFolder, cell_ids: pa.Array) -> bool:
    """Return whether a sweep has rows of some cells, as far as is seen without checking its files."""
    try:
        for part in read_manifest(folder).parts:
            ids = read_columns(folder.trials_part(part.number), ["cell_id"])["cell_id"]
            if pc.any(pc.is_in(ids, cell_ids)).as_py():
                return True
    except (FileNotFoundError, DamageError, StoreError):
        return True  # its files are being replaced, or some are damaged
    except UNREADABLE:
        pass
    return False


def _rows_of(sweep: Contents, trial_ids: Collection[str]) -> tuple[pa.Table, pa.Table]:
    folder, parts = sweep.folder, sweep.manifest.parts
    ids = [read_columns(folder.trials_part(part.number), ["trial_id"])["trial_id"].to_pylist() for part in parts]
    newest = {trial: index for index, trials in enumerate(ids) for trial in trials}
    trials, curves = [], []
    for index, part in enumerate(parts):
        taken = pa.array([trial for trial in trial_ids if newest.get(trial) == index], pa.string())
        if len(taken):
            trials += _selected(stream_rows(folder.trials_part(part.number)), taken)
            curves += _selected(stream_rows(folder.curves_part(part.number)), taken) if part.curves else []
    found = _united(trials, trials_schema())
    name = pa.repeat(pa.scalar(folder.name), found.num_rows)
    return found.set_column(found.schema.get_field_index("found_in"), "found_in", name), _united(curves, CURVES)


def _selected(tables: Iterable[pa.Table], trial_ids: pa.Array) -> list[pa.Table]:
    return [table.filter(pc.is_in(table["trial_id"], trial_ids)) for table in tables]


def _united(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    schema = unite(itertools.chain([schema], (table.schema for table in tables)))
    return pa.concat_tables(
        [schema.empty_table(), *(conform(table, schema) for table in tables)], promote_options="default"
    )
