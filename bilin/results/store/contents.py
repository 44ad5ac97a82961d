"""What a sweep's folder holds, as far as it is whole: the one way in which it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from bilin.errors import StoreError
from bilin.results.schema import CURVES, trials_schema
from bilin.results.store.durable import explained
from bilin.results.store.manifest import Manifest, Part, read_manifest
from bilin.results.store.parts.found import damaged_curves, damaged_trials, read_wholly, with_found
from bilin.results.store.paths import GRID, WANTED
from bilin.results.store.wanted import parse_wanted
from bilin.results.store.whole import UNREADABLE, Damage, DamageError, fault, mismatch, unreadable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contents:
    """A sweep at one instant.

    Attributes:
        manifest: Lists what is whole: a damaged part is not in it, one with damaged curves has none there.
        wanted: What its grid wants, as a table of schema `WANTED`; None where no grid was launched.
        grid: That grid, resolved.
        damage: What is not whole.
    """

    directory: Path
    manifest: Manifest
    wanted: pa.Table | None
    grid: str | None
    damage: tuple[Damage, ...]


def read_sweeps(
    directories: Sequence[Path],
    read: Callable[[Sequence[Contents]], T],
    *,
    curves: bool = False,
    warn: bool = True,
) -> T:
    """What `read` makes of some sweeps, though writers may replace their files meanwhile.

    Args:
        directories: The sweeps' folders.
        read: May raise FileNotFoundError where a file vanishes; it is then called again.
        curves: Whether it reads curves; else these are looked at, not read.
        warn: Whether to say what is damaged.

    Warns:
        DamageWarning: Of each file that is damaged; it is left out.

    Raises:
        StoreError: The system does not let them be read, or they are of a newer schema.
    """
    seen: list[Damage] | None = None
    while True:
        sweeps = [_look(directory, curves=curves) for directory in directories]
        damage = [each for sweep in sweeps for each in sweep.damage]
        if damage and damage != seen:  # or a writer has just replaced it: damage is what is seen twice
            seen = damage
            continue
        try:
            result = read(sweeps)
        except FileNotFoundError as error:
            if all(path.exists() for sweep in sweeps for path in sweep.manifest.paths(sweep.directory)):
                raise StoreError(f"{error.filename} is missing, and cannot be read") from error
            continue
        for each in damage if warn else ():
            each.warn_read()
        return result


def look(directory: Path, *, curves: bool = True) -> Contents:
    """What is in a sweep's folder now.

    Args:
        directory: The folder; it need not exist.
        curves: Whether to read the files of curves too; else only their sizes are looked at.

    Raises:
        StoreError: It is of a newer schema.
        OSError: The system does not let it be read.
    """
    manifest, damage = _listed(directory)
    parts = []
    for part in manifest.parts:
        whole, damaged = _whole(directory, part, manifest, curves=curves)
        parts += [whole] if whole else []
        damage += [damaged] if damaged else []
    wanted, grid = directory / WANTED, directory / GRID
    table = _kept(wanted, manifest, parse_wanted, "every row of the sweep is shown", damage)
    text = _kept(grid, manifest, _parse_grid, "how the sweep stands cannot be told", damage)
    return Contents(
        directory=directory,
        manifest=replace(manifest, parts=tuple(parts)),
        wanted=table,
        grid=text,
        damage=tuple(damage),
    )


def _look(directory: Path, *, curves: bool) -> Contents:
    with explained(directory, "read"):
        return look(directory, curves=curves)


def _listed(directory: Path) -> tuple[Manifest, list[Damage]]:
    """The manifest, or where it is damaged what the files say that it listed."""
    try:
        return read_manifest(directory), []
    except DamageError as error:
        manifest, damage = with_found(directory, Manifest())
        return manifest, [error.damage, *damage]


def _whole(directory: Path, part: Part, manifest: Manifest, *, curves: bool) -> tuple[Part | None, Damage | None]:
    """What is whole of a part, and what is not."""
    trials = part.trials_path(directory)
    if what := _fault(trials, trials_schema(), part.trials, manifest, thorough=True):
        return None, damaged_trials(directory, part, what)
    path = part.curves_path(directory)
    if part.curves and (what := _fault(path, CURVES, part.curves, manifest, thorough=curves)):
        num_bytes = trials.stat().st_size
        return replace(part, curves=0, num_bytes=num_bytes), damaged_curves(directory, part, what)
    return part, None


def _fault(path: Path, schema: pa.Schema, num_rows: int, manifest: Manifest, *, thorough: bool) -> str | None:
    if manifest.of(path) or not thorough:
        return fault(path, manifest.of(path), thorough=thorough)
    try:  # written before there were checksums
        found = read_wholly(path, schema).num_rows
    except UNREADABLE as error:
        return unreadable(error)
    return None if found == num_rows else f"has {found} rows, and {num_rows} were written"


def _kept(
    path: Path, manifest: Manifest, parse: Callable[[bytes], T], meanwhile: str, damage: list[Damage]
) -> T | None:
    """The content of a file that every launch writes anew; None where there is none, or it is damaged."""
    try:
        content = path.read_bytes()
        what = mismatch(content, manifest.of(path))
        if what is None:
            return parse(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UNREADABLE as error:
        what = unreadable(error)
    read, mended = f"{meanwhile}, and the next launch writes it anew", "a launch writes it anew"
    damage.append(Damage(path=path, what=what, read=read, mended=mended, files=(path,)))
    return None


def _parse_grid(content: bytes) -> str:
    json.loads(content)
    return content.decode()
