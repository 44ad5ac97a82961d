"""Parts as their files alone tell them: what is left where the manifest does not list them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bilin.results.columns import unite
from bilin.results.schema import CURVES, trials_schema
from bilin.results.store.manifest import Manifest, Part
from bilin.results.store.whole import ASIDE, UNREADABLE, Damage, checksum_of, unreadable

_NAME = re.compile(r"(?:trials|curves)-(\d{8}|[1-9]\d{8,})\.parquet")

_ROWS = 1 << 14

_ESSENTIAL = (
    "trial_id", "cell_id", "lr", "seed", "status", "attempts", "solved", "validation_accuracy", "training_loss",
    "steps", "wall_s", "tested",
)  # fmt: skip
"""The columns without which a trial is none."""


def part_files(directory: Path) -> Iterator[tuple[int, Path]]:
    """The files that are named as those of a part are, with its number."""
    return ((int(match[1]), path) for path in directory.glob("*.parquet") if (match := _NAME.fullmatch(path.name)))


def with_found(directory: Path, manifest: Manifest) -> tuple[Manifest, list[Damage]]:
    """The manifest with the parts that are whole and that it has not come to: where it is lost, with all of them.

    Such parts were written when a process or machine died; each can only hold what was measured. The number of the
    next one is beyond every file, those set aside too.
    """
    numbers = sorted({number for number, path in part_files(directory) if number >= manifest.next_number})
    parts, checksums, damage = [], dict(manifest.checksums), []
    for number in numbers:
        part, damaged = _found(directory, number)
        damage += damaged
        if part:
            parts.append(part)
            checksums |= {path.name: (checksum_of(path),) for path in part.paths(directory)}
    aside = [number for number, _ in part_files(directory / ASIDE)]
    next_number = max([manifest.next_number, *(number + 1 for number in [*numbers, *aside])])
    found = replace(manifest, parts=(*manifest.parts, *parts), next_number=next_number, checksums=checksums)
    return found, damage


def read_wholly(path: Path, known: pa.Schema) -> pa.Table:
    """The ids of a file's rows, after every value of it was read.

    Args:
        path: The file.
        known: The columns of its kind.

    Raises:
        Exception: One of `UNREADABLE`, where it is not a file of its kind, or not whole.
    """
    with path.open("rb") as opened, pq.ParquetFile(opened, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        unite([known, schema])
        for name in known.names if known is CURVES else _ESSENTIAL:
            if name not in schema.names or (name != "tested" and schema.field(name).type != known.field(name).type):
                raise ValueError(f"it has no column {name} of its type")
        for batch in file.iter_batches(_ROWS):
            batch.validate(full=True)
        ids = file.read(["trial_id"])
    if ids["trial_id"].null_count or ids.num_rows != file.metadata.num_rows:
        raise ValueError("rows are missing")
    return ids


def _found(directory: Path, number: int) -> tuple[Part | None, list[Damage]]:
    """A part, or what is wrong with it; a part whose curves alone are damaged stands without them."""
    part = Part(number=number, level=0, trials=0, curves=0, num_bytes=0)
    damage: list[Damage] = []
    try:
        trials = read_wholly(part.trials_path(directory), trials_schema()).num_rows
    except UNREADABLE as error:
        return None, [damaged_trials(directory, part, unreadable(error))]
    curves, path = 0, part.curves_path(directory)
    try:
        curves = read_wholly(path, CURVES).num_rows if path.exists() else 0
    except UNREADABLE as error:
        damage = [damaged_curves(directory, replace(part, trials=trials), unreadable(error))]
    num_bytes = sum(path.stat().st_size for path in replace(part, curves=curves).paths(directory))
    return replace(part, trials=trials, curves=curves, num_bytes=num_bytes), damage


def damaged_trials(directory: Path, part: Part, what: str) -> Damage:
    """A part that is left out, since its file of trials is damaged."""
    return Damage(
        path=part.trials_path(directory),
        what=what,
        read=f"what it holds ({_counted(part)}) is left out, and runs again at the next launch where it is wanted",
        mended=f"what it held ({_counted(part)}) runs again where it is wanted",
        files=(part.trials_path(directory), part.curves_path(directory)),
    )


def damaged_curves(directory: Path, part: Part, what: str) -> Damage:
    """A part that stands without its curves."""
    return Damage(
        path=part.curves_path(directory),
        what=what,
        read=f"its curves ({_counted(part)}) are left out, the results stand",
        mended=f"the results ({_counted(part)}) stand without their curves",
        files=(part.curves_path(directory),),
    )


def _counted(part: Part) -> str:
    return "1 trial" if part.trials == 1 else f"{part.trials or 'some'} trials"
