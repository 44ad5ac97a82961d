"""The contents of a sweep's folder, without what is damaged. Everything that reads a sweep reads it here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from bilin.errors import StoreError
from bilin.folder import SweepFolder
from bilin.results.schema import CURVES, trials_schema
from bilin.results.store.durable import (
    UNREADABLE,
    Damage,
    DamageError,
    content_fault,
    explained,
    file_fault,
    read_fault,
)
from bilin.results.store.manifest import Manifest, Part, read_manifest
from bilin.results.store.parts import damaged_curves, damaged_trials, validate_file, with_unlisted_parts
from bilin.results.store.paths import sweep_folders
from bilin.results.store.rows import parse_wanted

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contents:
    """A sweep at one instant.

    Attributes:
        manifest: Lists the undamaged files only: a part with damaged trials is absent, one with damaged curves has
            no curves.
        wanted: What its grid wants, as a table of schema `WANTED_SCHEMA`; None if no grid was launched.
        grid: The resolved grid.
        damage: What is damaged.
    """

    folder: SweepFolder
    manifest: Manifest
    wanted: pa.Table | None
    grid: str | None
    damage: tuple[Damage, ...]


def read_sweeps(
    folders: Sequence[SweepFolder],
    read: Callable[[Sequence[Contents]], T],
    *,
    curves: bool = False,
    warn: bool = True,
) -> T:
    """Read some sweeps, even while writers replace their files.

    Args:
        folders: The sweeps' folders.
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
        sweeps = []
        for folder in folders:
            with explained(folder.path, "read"):
                sweeps.append(read_contents(folder, curves=curves))
        damage = [each for sweep in sweeps for each in sweep.damage]
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
    """Return what is in a sweep's folder now.

    Args:
        folder: The folder; it need not exist.
        curves: Whether to read the files of curves; else only their sizes are checked.

    Raises:
        StoreError: It has a newer schema.
        OSError: The system does not let it be read.
    """
    damage: list[Damage] = []
    try:
        manifest = read_manifest(folder)
    except DamageError as error:
        manifest, damage = with_unlisted_parts(folder, Manifest())
        damage.insert(0, error.damage)
    parts = []
    for listed in manifest.parts:
        part, part_damage = _undamaged(folder, listed, manifest, curves=curves)
        parts += [part] if part else []
        damage += [part_damage] if part_damage else []
    wanted = _read_file(folder.wanted, manifest, parse_wanted, "every row of the sweep is shown", damage)
    grid = _read_file(folder.grid, manifest, _parse_grid, "the state of the sweep is unknown", damage)
    manifest = replace(manifest, parts=tuple(parts))
    return Contents(folder=folder, manifest=manifest, wanted=wanted, grid=grid, damage=tuple(damage))


def _undamaged(
    folder: SweepFolder, part: Part, manifest: Manifest, *, curves: bool
) -> tuple[Part | None, Damage | None]:
    """Return what is undamaged of a part, and the damage."""
    trials = folder.trials_part(part.number)
    if fault := _part_file_fault(trials, trials_schema(), part.trials, manifest, thorough=True):
        return None, damaged_trials(folder, part, fault)
    path = folder.curves_part(part.number)
    if part.curves and (fault := _part_file_fault(path, CURVES, part.curves, manifest, thorough=curves)):
        return replace(part, curves=0, num_bytes=trials.stat().st_size), damaged_curves(folder, part, fault)
    return part, None


def _part_file_fault(path: Path, schema: pa.Schema, num_rows: int, manifest: Manifest, *, thorough: bool) -> str | None:
    if manifest.checksums_of(path) or not thorough:
        return file_fault(path, manifest.checksums_of(path), thorough=thorough)
    try:  # a file of a version that wrote no checksums
        actual = validate_file(path, schema).num_rows
    except UNREADABLE as error:
        return read_fault(error)
    return None if actual == num_rows else f"has {actual} rows, expected {num_rows}"


def _read_file(
    path: Path, manifest: Manifest, parse: Callable[[bytes], T], consequence: str, damage: list[Damage]
) -> T | None:
    """Return the content of a file that every launch replaces; None if there is none, or it is damaged."""
    try:
        content = path.read_bytes()
        fault = content_fault(content, manifest.checksums_of(path))
        if fault is None:
            return parse(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UNREADABLE as error:
        fault = read_fault(error)
    until = "until the next launch writes it again"
    damage.append(Damage(path=path, fault=fault, consequence=f"{consequence} {until}", files=(path,)))
    return None


def _parse_grid(content: bytes) -> str:
    json.loads(content)
    return content.decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What `verify` finds in a sweep.

    Attributes:
        num_parts: The undamaged parts, with ``num_trials`` rows of trials and ``num_curves`` rows of curves.
        num_aside: Files that writers set aside earlier.
        damage: A line for each damaged file.
    """

    sweep: str
    num_parts: int
    num_trials: int
    num_curves: int
    num_aside: int
    damage: Sequence[str]

    def __str__(self) -> str:
        counts = [_counted(self.num_parts, "part"), f"{_counted(self.num_trials, 'row')} of trials"]
        aside = [f"{_counted(self.num_aside, 'file')} set aside earlier"] if self.num_aside else []
        state = f"{self.sweep}: {'damaged' if self.damage else 'undamaged'}"
        return ", ".join([state, *counts, f"{self.num_curves} of curves", *aside])


def verify(store: Path | str, sweep: str | None = None) -> list[Health]:
    """Read every value of every file of a store that counts, and check the files against each other.

    Args:
        store: Directory of the store.
        sweep: The sweep to verify; None verifies all.

    Raises:
        StoreError: The store or sweep does not exist, or the system does not let it be read.
    """
    return [read_sweeps([folder], _health, curves=True, warn=False) for folder in sweep_folders(store, sweep)]


def _health(sweeps: Sequence[Contents]) -> Health:
    (sweep,) = sweeps
    parts, aside = sweep.manifest.parts, sweep.folder.damaged
    return Health(
        sweep=sweep.folder.name,
        num_parts=len(parts),
        num_trials=sum(part.trials for part in parts),
        num_curves=sum(part.curves for part in parts),
        num_aside=sum(1 for _ in aside.iterdir()) if aside.is_dir() else 0,
        damage=[
            *map(str, sweep.damage),
            *(line for part in parts for line in _contradictions(sweep.folder, part)),
        ],
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _contradictions(folder: SweepFolder, part: Part) -> Iterator[str]:
    """Yield what is wrong with a part whose checksums match."""
    trials, curves = folder.trials_part(part.number), folder.curves_part(part.number)
    try:
        ids = validate_file(trials, trials_schema())["trial_id"]
        curve_ids = validate_file(curves, CURVES)["trial_id"] if part.curves else ids.slice(0, 0)
    except UNREADABLE as error:
        yield f"the part of {trials} {read_fault(error)}"
        return
    for path, found, listed in ((trials, len(ids), part.trials), (curves, len(curve_ids), part.curves)):
        if found != listed:
            yield f"{path} has {found} rows, and the manifest lists {listed}"
    if len(pc.unique(ids)) < len(ids):
        yield f"{trials} has a trial twice"
    if not pc.all(pc.is_in(curve_ids, value_set=ids.combine_chunks()), min_count=0).as_py():
        yield f"{curves} has curves of trials that are not in {trials.name}"
