"""The sweeps of a store, and the contents of each without what is damaged. Everything that reads a sweep reads it here.

The planner reads one small object per trial; queries read the part files with DuckDB.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from bilin.errors import StoreError
from bilin.folder import SWEEP_NAME, SweepFolder, Training
from bilin.record import Rung, Status
from bilin.results.origin import UNKNOWN, Origin
from bilin.results.schema import CURVES, trials_schema
from bilin.results.store.durable import UNREADABLE, Checksum, Damage, DamageError, explained, file_fault, read_fault
from bilin.results.store.manifest import Manifest, Part, read_manifest
from bilin.results.store.parts import damaged_curves, damaged_trials, read_columns, validate_file, with_unlisted_parts
from bilin.results.store.rows import WantedRow, parse_wanted, to_point, wanted_rows
from bilin.spec import Point
from bilin.units import plural

T = TypeVar("T")


def sweep_names(store: Path | str) -> list[str]:
    """Return the names of the sweeps in a store, sorted.

    Raises:
        StoreError: There is no store at this path.
    """
    store = Path(store)
    if not store.is_dir():
        reason = "is a file, not a directory" if store.exists() else "does not exist"
        raise StoreError(f"the store {store} {reason}; name one with --store or BILIN_STORE, or launch a sweep into it")
    if SweepFolder(store).has_results:
        raise StoreError(f"{store} is a sweep; its store is the folder that contains it, {store.absolute().parent}")
    while True:
        paths = [path for path in store.iterdir() if SWEEP_NAME.fullmatch(path.name)]
        names = [path.name for path in paths if SweepFolder(path).has_results]
        if len(names) == len(paths) or all(map(os.path.lexists, paths)):  # else one was renamed: list again
            return sorted(names)


def sweep_folders(store: Path | str, sweeps: Sequence[str] = ()) -> list[SweepFolder]:
    """Return the folders of some sweeps, or of all sweeps in a store.

    Raises:
        StoreError: The store or a sweep does not exist; the message lists the sweeps of the store.
    """
    for sweep in sweeps:
        SweepFolder.of(store, sweep)  # a message of its own for what cannot be the name of a sweep
    names = sweep_names(store)
    for sweep in sweeps:
        if sweep not in names:
            raise StoreError(f"no sweep {sweep!r} in the store {store}; sweeps in it: {', '.join(names) or 'none yet'}")
    return [SweepFolder(Path(store) / name) for name in names if name in sweeps or not sweeps]


def begun(folder: SweepFolder) -> Callable[[], list[SweepFolder]]:
    """Return what finds one sweep for `read_sweeps`: nothing while the sweep has not begun."""
    return lambda: [folder] if folder.has_results else []


def existing_sweep(store: Path | str, sweep: str) -> SweepFolder:
    """Return the folder of a sweep that exists. Raises as `sweep_folders` does."""
    (folder,) = sweep_folders(store, [sweep])
    return folder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contents:
    """A sweep at one instant.

    Attributes:
        manifest: Lists the undamaged files only: a part with damaged trials is absent, one with damaged curves has
            no curves.
        wanted: What its grid wants, as a table of schema `WANTED_SCHEMA`; None if no grid was launched.
        grid: The resolved grid.
    """

    folder: SweepFolder
    manifest: Manifest
    wanted: pa.Table | None
    grid: str | None
    damage: tuple[Damage, ...]


def read_sweeps(
    find: Callable[[], Sequence[SweepFolder]],
    read: Callable[[Sequence[Contents]], T],
    *,
    curves: bool = False,
    warn: bool = True,
) -> T:
    """Read some sweeps, even while writers replace their files, and while sweeps are renamed.

    Args:
        find: Returns the sweeps' folders. It is called again if one of them is gone.
        read: Makes the result. It is called again if it raises FileNotFoundError because a file was replaced.
        curves: Whether it reads curves; else the sizes of their files are checked, not their content.
        warn: Whether to warn of damage.

    Warns:
        DamageWarning: For each damaged file, which is skipped.

    Raises:
        StoreError: The system does not let them be read, or they have a newer schema.
    """
    previous: list[Damage] | None = None
    while True:
        sweeps, folders = [], find()
        for folder in folders:
            with explained(folder.path, "read"), suppress(FileNotFoundError):
                sweeps.append(read_contents(folder, curves=curves))
        if len(sweeps) < len(folders):  # a writer replaced a file while it was read, or renamed the sweep
            continue
        damage = list(itertools.chain.from_iterable(sweep.damage for sweep in sweeps))
        if damage and damage != previous:  # a writer may just have replaced the file: look twice
            previous = damage
            continue
        try:
            result = read(sweeps)
        except FileNotFoundError as error:
            if all(path.exists() for sweep in sweeps for path in sweep.manifest.paths(sweep.folder)):
                raise StoreError(f"{error.filename} cannot be read: it does not exist") from error
            continue
        for each in damage if warn else ():
            each.warn()
        return result


def read_contents(folder: SweepFolder, *, curves: bool = True) -> Contents:
    """Return what is in a sweep's folder now. For `curves`, see `read_sweeps`.

    Raises:
        FileNotFoundError: The sweep has not begun, or was renamed.
        StoreError: It has a newer schema.
        OSError: The system does not let it be read.
    """
    damage: list[Damage] = []
    try:
        manifest = read_manifest(folder)
    except DamageError as error:
        manifest, damage = with_unlisted_parts(folder, Manifest())
        damage.insert(0, error.damage)
    parts: list[Part] = []
    for part in manifest.parts:
        trials_path, curves_path = folder.trials_part(part.number), folder.curves_part(part.number)
        if fault := _part_file_fault(trials_path, trials_schema(), part.trials, manifest, thorough=True):
            damage.append(damaged_trials(folder, part, fault))
            continue
        if part.curves and (fault := _part_file_fault(curves_path, CURVES, part.curves, manifest, thorough=curves)):
            damage.append(damaged_curves(folder, part, fault))
            part = replace(part, curves=0, num_bytes=trials_path.stat().st_size)
        parts.append(part)
    wanted = _read_file(folder.wanted, manifest, parse_wanted, "every row of the sweep is shown", damage)
    grid = _read_file(folder.grid, manifest, _parse_grid, "the state of the sweep is unknown", damage)
    manifest = replace(manifest, parts=tuple(parts))
    return Contents(folder=folder, manifest=manifest, wanted=wanted, grid=grid, damage=tuple(damage))


def _part_file_fault(path: Path, schema: pa.Schema, num_rows: int, manifest: Manifest, *, thorough: bool) -> str | None:
    if manifest.checksums_of(path) or not thorough:
        return file_fault(path, manifest.checksums_of(path), thorough=thorough)
    try:  # a file of a version that wrote no checksums
        actual = validate_file(path, schema).num_rows
    except UNREADABLE as error:
        return read_fault(error)
    return None if actual == num_rows else f"has {plural(actual, 'row')}, expected {num_rows}"


def _read_file(
    path: Path, manifest: Manifest, parse: Callable[[bytes], T], consequence: str, damage: list[Damage]
) -> T | None:
    """Return the content of a file that every launch replaces; None if there is none, or it is damaged."""
    try:
        content = path.read_bytes()
        fault = Checksum.of(content).fault(manifest.checksums_of(path))
        if fault is None:
            return parse(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UNREADABLE as error:
        fault = read_fault(error)
    until = "until the next launch writes it again"
    damage.append(Damage(path=path, fault=fault, consequence=f"{consequence} {until}"))
    return None


def _parse_grid(content: bytes) -> str:
    json.loads(content)
    return content.decode()


@dataclass(slots=True)
class StoredTrial:
    """What is stored of one trial. Not frozen: that would double the time to read a large sweep.

    `tested` has the number of sequences at each tested length. `weights` is the file of its final weights, of the
    training that the row has. `test_s` is None in rows of versions before it existed.
    `found_in` names another sweep, whose row it is. `searched` has the searched fields by name, and `rungs`
    the rungs of a pruner that the trial reached. Trials of
    the same versions and hardware share one `origin`.
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
    test_s: float | None = None
    origin: Origin = UNKNOWN
    weights: Path | None = None
    found_in: str | None = None
    searched: tuple[tuple[str, float], ...] = ()
    rungs: tuple[Rung, ...] = ()

    @property
    def has_weights(self) -> bool:
        """Whether the final weights are kept."""
        return self.weights is not None

    @property
    def point(self) -> Point:
        """The learning rate, and the values of the searched fields."""
        return Point(self.lr, self.searched)


_NO_COLUMNS = ("tested", "test_s", "origin", "weights", "found_in", "searched", "rungs")
_COLUMNS = [name for name in StoredTrial.__slots__ if name not in _NO_COLUMNS]
_LATER_COLUMNS = ("test_s", *Origin._fields)  # rows of earlier versions may lack them


def stored(store: Path | str, sweep: str) -> dict[str, StoredTrial]:
    """Return the trials of a sweep by their ids, without superseded ones; none if it has not begun.

    Warns:
        DamageWarning: For each damaged file, whose trials are skipped.

    Raises:
        StoreError: The system does not let the sweep be read.
    """
    return read_sweeps(begun(SweepFolder.of(store, sweep)), stored_trials)


def stored_grid(store: Path | str, sweep: str) -> str | None:
    """Return the resolved grid as last launched; None if none was launched, or the file is damaged."""
    return read_sweeps(begun(SweepFolder.of(store, sweep)), lambda sweeps: next((sweep.grid for sweep in sweeps), None))


def last_wanted(store: Path | str, sweep: str) -> dict[str, WantedRow] | None:
    """Return what the grid as last launched wants, by the ids of its cells; None if there is none, or it is damaged."""
    folder = SweepFolder.of(store, sweep)
    try:
        wanted = _read_file(folder.wanted, read_manifest(folder), parse_wanted, "", [])
    except (DamageError, FileNotFoundError):
        return None
    return None if wanted is None else {row.cell_id: row for row in wanted_rows(wanted)}


def stored_trials(sweeps: Sequence[Contents]) -> dict[str, StoredTrial]:
    """Return the trials of one sweep, or of none, by their ids, without superseded ones; for `read_sweeps`."""
    trials: dict[str, StoredTrial] = {}
    if not sweeps:
        return trials
    (sweep,) = sweeps
    origins, kept = functools.cache(Origin._make), sweep.folder.kept_weights()
    columns_read = [*_COLUMNS, "tested", *_LATER_COLUMNS, "searched", "rungs", *(["started_at"] if kept else [])]
    for part in sweep.manifest.parts:
        table = read_columns(sweep.folder.trials_part(part.number), columns_read)
        columns = [table[name].to_pylist() for name in _COLUMNS]
        test_s, *origin = (
            table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
            for name in _LATER_COLUMNS
        )
        rows = zip(zip(*columns, strict=True), _tested(table["tested"]), test_s, zip(*origin, strict=True), strict=True)
        for values, tested, seconds, made in rows:
            trial = StoredTrial(*values, tested, seconds, origins(made))  # type: ignore[call-arg]
            trials[trial.trial_id] = trial
        if "searched" in table.column_names and table["searched"].null_count < table.num_rows:
            for trial_id, searched in zip(table["trial_id"].to_pylist(), table["searched"].to_pylist(), strict=True):
                trials[trial_id].searched = to_point(0.0, searched).searched
        if "rungs" in table.column_names and table["rungs"].null_count < table.num_rows:
            for trial_id, rungs in zip(table["trial_id"].to_pylist(), table["rungs"].to_pylist(), strict=True):
                trials[trial_id].rungs = tuple(Rung(**rung) for rung in rungs or ())
        for training in _trainings(table) if kept else ():
            trials[training[0]].weights = kept.get(training)
    return trials


def _trainings(rows: pa.Table) -> Iterator[Training]:
    return zip(rows["trial_id"].to_pylist(), rows["started_at"].cast(pa.int64()).to_pylist(), strict=True)


def _tested(column: pa.ChunkedArray) -> Iterator[Mapping[int, int]]:
    """Yield the tested lengths of each trial; trials with the same ones share one mapping."""
    shared = functools.cache(lambda lengths, counts: dict(zip(lengths, counts, strict=True)))
    for chunk in column.chunks:
        items = chunk.flatten()
        lengths, counts = (tuple(items.field(name).to_pylist()) for name in ("length", "num_sequences"))
        for start, end in itertools.pairwise(itertools.accumulate(chunk.value_lengths().to_pylist(), initial=0)):
            yield shared(lengths[start:end], counts[start:end])
