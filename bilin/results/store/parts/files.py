"""Writing and reading the two files of one part."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bilin.errors import StoreError
from bilin.results.columns import conform
from bilin.results.schema import CURVES
from bilin.results.store.durable import sync
from bilin.results.store.manifest import Part

_ROW_GROUP = 1 << 17
"""Rows that are held in memory at once while parts are merged."""


def write_part(directory: Path, number: int, trials: pa.Table, curves: pa.Table) -> Part:
    """Write a part as it is appended; durable on return, but for the names of its files in the directory."""
    return stream_part(directory, number, level=0, trials=([trials], trials.schema), curves=([curves], CURVES))


def stream_part(
    directory: Path,
    number: int,
    *,
    level: int,
    trials: tuple[Iterable[pa.Table], pa.Schema],
    curves: tuple[Iterable[pa.Table], pa.Schema],
) -> Part:
    """Write a part from tables that come one after the other; a file without rows is not written.

    The curves come first, so that where there are trials there are their curves, also after a crash.
    """
    part = Part(number=number, level=level, trials=0, curves=0, num_bytes=0)
    try:
        num_curves = _stream(part.curves_path(directory), *curves)
        num_trials = _stream(part.trials_path(directory), *trials)
    except OSError:
        for path in (part.trials_path(directory), part.curves_path(directory)):
            with suppress(OSError):
                path.unlink()  # a disk that is full needs the room
        raise
    part = Part(number=number, level=level, trials=num_trials, curves=num_curves, num_bytes=0)
    size = sum(path.stat().st_size for path in part.paths(directory)) if num_trials else 0
    return Part(number=number, level=level, trials=num_trials, curves=num_curves, num_bytes=size)


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a part; those that the file lacks are left out.

    Raises:
        FileNotFoundError: There is no such file.
        StoreError: It cannot be read.
    """
    with _open(path) as file:
        known = set(file.schema_arrow.names)
        try:
            return file.read([name for name in columns if name in known])
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from error


def read_schema(path: Path) -> pa.Schema:
    """The columns of a part; raises as `read_columns` does."""
    with _open(path) as file:
        return file.schema_arrow


def stream_rows(path: Path, without: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of a part but for those of some trials, a batch at a time; raises as `read_columns` does."""
    with _open(path) as file:
        try:
            for batch in file.iter_batches(_ROW_GROUP):
                table = pa.Table.from_batches([batch])
                if without:
                    table = table.filter(pc.invert(pc.is_in(table["trial_id"], pa.array(without, pa.string()))))
                yield table
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from error


def _stream(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    num_rows = 0
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for table in _gather(tables, schema):
            writer = writer or _writer(stack, path, schema)
            writer.write_table(table)
            num_rows += table.num_rows
    if num_rows:
        sync(path)
    return num_rows


def _writer(stack: ExitStack, path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer whose pages have checksums, so that they can be told to be whole where nothing else says so."""
    file = stack.enter_context(path.open("wb"))
    return stack.enter_context(pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True))


def _gather(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables in one schema, small ones joined: a row group each would make large files of small parts."""
    held, num_rows = [schema.empty_table()], 0
    for table in tables:
        held.append(conform(table, schema))
        num_rows += table.num_rows
        if num_rows >= _ROW_GROUP:
            yield pa.concat_tables(held, promote_options="default")
            held, num_rows = [schema.empty_table()], 0
    if num_rows:
        yield pa.concat_tables(held, promote_options="default")


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from error
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} cannot be read any more ({error}): run the same command again, and it is left out")
