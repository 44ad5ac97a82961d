"""Parts: batches of trials with their curves, each written once and merged with others later.

Merging keeps the number of files small, as a log-structured merge tree does. An append writes a part of level 0.
When the newest `FAN_IN` parts have one level, they are merged into a part of the next level, so a row is rewritten
once per level. The cost of an append, and the number of files, grow with the logarithm of the number of appends, until
parts reach a size beyond which they are not merged.

Source: O'Neil, Cheng, Gawlick, O'Neil, "The log-structured merge-tree", Acta Informatica 33 (1996).
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bilin.errors import StoreError
from bilin.folder import SweepFolder
from bilin.record import TrialResult
from bilin.results.schema import CURVES, conform, trials_schema, unite
from bilin.results.store.durable import UNREADABLE, Checksum, Damage, read_fault, sync
from bilin.results.store.manifest import Manifest, Part
from bilin.results.store.rows import add_tests
from bilin.spec import TrialSpec
from bilin.units import plural

FAN_IN = 16

MAX_BYTES = 64 << 20
"""Parts are not merged beyond this size, so that a merge stops the writer for about a second at most."""

_ROW_GROUP = 1 << 17
"""Rows held in memory while parts are merged."""

_VALIDATED_ROWS = 1 << 14
"""Rows held in memory while a file is validated."""

_ESSENTIAL = (
    "trial_id", "cell_id", "lr", "seed", "status", "attempts", "solved", "validation_accuracy", "training_loss",
    "steps", "wall_s", "tested",
)  # fmt: skip
"""The columns that every file of trials has."""


def write_part(folder: SweepFolder, number: int, trials: pa.Table, curves: pa.Table) -> Part:
    """Write a part of level 0; durable on return, but for the names of its files in the directory."""
    return _write(folder, number, level=0, trials=([trials], trials.schema), curves=([curves], CURVES))


def tested_again(
    folder: SweepFolder, part: Part, results: Mapping[str, tuple[TrialSpec, TrialResult]]
) -> tuple[pa.Table, pa.Table] | None:
    """Return the rows of some trials in a part with more tested lengths, and their curves; None if it has none."""

    def of_trials(path: Path) -> pa.Table:
        rows = [table.filter(pc.is_in(table["trial_id"], ids)) for table in stream_rows(path)]
        return pa.concat_tables([read_schema(path).empty_table(), *rows])

    ids = pa.array(results.keys(), pa.string())
    if not pc.any(pc.is_in(read_columns(folder.trials_part(part.number), ["trial_id"])["trial_id"], ids)).as_py():
        return None
    trials = add_tests(of_trials(folder.trials_part(part.number)), results)
    curves = of_trials(folder.curves_part(part.number)) if part.curves else CURVES.empty_table()
    return trials, curves


def num_mergeable(parts: Sequence[Part]) -> int:
    """Return how many of the newest parts to merge into one; 0 if none."""
    rest = list(parts)
    merged = 0
    while True:
        run = rest[-FAN_IN:]
        total = sum(part.num_bytes for part in run)
        if len(run) < FAN_IN or any(part.level != run[0].level for part in run) or total > MAX_BYTES:
            return merged
        merged = len(parts) - (len(rest) - FAN_IN)
        rest[-FAN_IN:] = [replace(run[0], level=run[0].level + 1, num_bytes=total)]


def merge(folder: SweepFolder, parts: Sequence[Part], number: int, *, without: Collection[str] = ()) -> Part:
    """Write one part with the rows of several, in their order, without the superseded ones.

    Columns that this version does not know are preserved. The parts are neighbours, oldest first; `number` is that of
    the new part.
    """
    ids = [read_columns(folder.trials_part(part.number), ["trial_id"])["trial_id"].to_pylist() for part in parts]
    last = {trial: index for index, trials in enumerate(ids) for trial in trials}
    trials, curves = [], []
    for index, part in enumerate(parts):
        dropped = [trial for trial in ids[index] if last[trial] != index or trial in without]
        trials.append((folder.trials_part(part.number), dropped))
        if part.curves:
            curves.append((folder.curves_part(part.number), dropped))
    return _write(
        folder,
        number,
        level=parts[0].level if len(parts) == 1 else max(part.level for part in parts) + 1,
        trials=_stream(trials, trials_schema()),
        curves=_stream(curves, CURVES),
    )


def _stream(files: Sequence[tuple[Path, Sequence[str]]], schema: pa.Schema) -> tuple[Iterable[pa.Table], pa.Schema]:
    """Return the rows of some files, each without some trials, and the union of a schema and theirs."""
    rows = itertools.chain.from_iterable(stream_rows(path, without=dropped) for path, dropped in files)
    return rows, unite([schema, *(read_schema(path) for path, _ in files)])


def _write(
    folder: SweepFolder,
    number: int,
    *,
    level: int,
    trials: tuple[Iterable[pa.Table], pa.Schema],
    curves: tuple[Iterable[pa.Table], pa.Schema],
) -> Part:
    """Write a part from streams of tables; a file without rows is not written.

    The curves are written first: even after a crash, a file of trials never lacks its curves.
    """
    files = folder.trials_part(number), folder.curves_part(number)
    try:
        num_curves = _write_file(files[1], *curves)
        num_trials = _write_file(files[0], *trials)
    except OSError:
        for path in files:
            with suppress(OSError):
                path.unlink()  # a full disk needs the room
        raise
    part = Part(number=number, level=level, trials=num_trials, curves=num_curves, num_bytes=0)
    return replace(part, num_bytes=_size(folder, part)) if num_trials else part


def _size(folder: SweepFolder, part: Part) -> int:
    return sum(path.stat().st_size for path in part.paths(folder))


def _write_file(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write a file with checksums in its pages, by which it can be validated without a manifest."""
    num_rows = 0
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for table in _batched(tables, schema):
            if writer is None:
                file = stack.enter_context(path.open("wb"))
                writer = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)
                stack.enter_context(writer)
            writer.write_table(table)
            num_rows += table.num_rows
    if num_rows:
        sync(path)
    return num_rows


def _batched(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield tables of one schema, small ones joined: a row group for each would make the file large."""
    batch, num_rows = [schema.empty_table()], 0
    for table in tables:
        batch.append(conform(table, schema))
        num_rows += table.num_rows
        if num_rows >= _ROW_GROUP:
            yield pa.concat_tables(batch, promote_options="default")
            batch, num_rows = [schema.empty_table()], 0
    if num_rows:
        yield pa.concat_tables(batch, promote_options="default")


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Return some columns of a part file, without those that it lacks.

    Raises:
        FileNotFoundError: There is no such file.
        StoreError: It cannot be read.
    """
    with _opened(path) as file:
        existing = set(file.schema_arrow.names)
        return file.read([name for name in columns if name in existing])


def read_schema(path: Path) -> pa.Schema:
    """Return the columns of a part file. Raises as `read_columns` does."""
    with _opened(path) as file:
        return file.schema_arrow


def stream_rows(path: Path, *, without: Sequence[str] = ()) -> Iterator[pa.Table]:
    """Yield the rows of a part file, without those of some trials, in batches. Raises as `read_columns` does."""
    with _opened(path) as file:
        for batch in file.iter_batches(_ROW_GROUP):
            table = pa.Table.from_batches([batch])
            if without:
                table = table.filter(pc.invert(pc.is_in(table["trial_id"], pa.array(without, pa.string()))))
            yield table


def validate_file(path: Path, schema: pa.Schema) -> pa.Table:
    """Decode every value of a part file, and return the ids of its rows.

    The schema has the columns that this version knows: those of trials or of curves.

    Raises:
        Exception: One of `UNREADABLE`: the file is damaged, or is not such a file.
    """
    with path.open("rb") as opened, pq.ParquetFile(opened, page_checksum_verification=True) as file:
        columns = file.schema_arrow
        unite([schema, columns])
        for name in schema.names if schema is CURVES else _ESSENTIAL:
            if name not in columns.names or (name != "tested" and columns.field(name).type != schema.field(name).type):
                raise ValueError(f"it has no column {name} of the expected type")
        for batch in file.iter_batches(_VALIDATED_ROWS):
            batch.validate(full=True)
        ids = file.read(["trial_id"])
    if ids["trial_id"].null_count or ids.num_rows != file.metadata.num_rows:
        raise ValueError("rows are missing")
    return ids


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError as error:  # Arrow's names no file
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from error
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read ({error}): run the same command again, which skips it") from error


def with_unlisted_parts(folder: SweepFolder, manifest: Manifest) -> tuple[Manifest, list[Damage]]:
    """Add the valid parts with higher numbers than the manifest lists; all of them if the manifest is lost.

    A writer that died had written them; they hold nothing but results. The next number is higher than that of any
    file, including those that were set aside.
    """
    numbers = sorted({number for number, _ in folder.part_files() if number >= manifest.next_number})
    parts, checksums, damage = [], dict(manifest.checksums), []
    for number in numbers:
        part, part_damage = _unlisted_part(folder, number)
        damage += part_damage
        if part:
            parts.append(part)
            checksums |= {path.name: (Checksum.of_file(path),) for path in part.paths(folder)}
    numbers += [number for number, _ in SweepFolder(folder.damaged).part_files()]
    next_number = max([manifest.next_number, *(number + 1 for number in numbers)])
    extended = replace(manifest, parts=(*manifest.parts, *parts), next_number=next_number, checksums=checksums)
    return extended, damage


def _unlisted_part(folder: SweepFolder, number: int) -> tuple[Part | None, list[Damage]]:
    """Return a part and what is damaged of it. If only its curves are damaged, it counts without them."""
    part = Part(number=number, level=0, trials=0, curves=0, num_bytes=0)
    damage: list[Damage] = []
    try:
        part = replace(part, trials=validate_file(folder.trials_part(number), trials_schema()).num_rows)
    except UNREADABLE as error:
        return None, [damaged_trials(folder, part, read_fault(error))]
    path = folder.curves_part(number)
    try:
        part = replace(part, curves=validate_file(path, CURVES).num_rows if path.exists() else 0)
    except UNREADABLE as error:
        damage = [damaged_curves(folder, part, read_fault(error))]
    return replace(part, num_bytes=_size(folder, part)), damage


def damaged_trials(folder: SweepFolder, part: Part, fault: str) -> Damage:
    """Describe a part whose file of trials is damaged; the whole part is skipped."""
    path = folder.trials_part(part.number)
    consequence = f"{_num_trials(part)} left out; the next launch runs those that the grid asks for"
    return Damage(path=path, fault=fault, consequence=consequence, others=(folder.curves_part(part.number),))


def damaged_curves(folder: SweepFolder, part: Part, fault: str) -> Damage:
    """Describe a part whose file of curves is damaged; its results count without them."""
    path = folder.curves_part(part.number)
    consequence = f"curves of {_num_trials(part)} left out; their results are not affected"
    return Damage(path=path, fault=fault, consequence=consequence)


def _num_trials(part: Part) -> str:
    return plural(part.trials, "trial") if part.trials else "some trials"
