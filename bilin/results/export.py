"""The rows of a query, written to a file as they come: they need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from bilin.errors import InputError, StoreError
from bilin.folder import partial_of
from bilin.results.result_table import Format, write_rows
from bilin.results.scratch import scratch
from bilin.results.sql.query import Question


def export(question: Question, format_: Format, output: Path | BinaryIO) -> None:
    """Write the answer to a question in a format for machines.

    Args:
        question: What to ask of a store.
        format_: CSV, JSON or Parquet.
        output: The path of a file, which is replaced when all rows are written, or an open file.

    Warns:
        DamageWarning: For each damaged file, whose rows are skipped.

    Raises:
        InputError: The file cannot be written.
        QueryError: The query is not valid.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    if isinstance(output, Path):
        with output_file(output) as file:
            _write(question, format_, file, can_restart=file.seekable())
    else:
        _write(question, format_, output, can_restart=False)


def _write(question: Question, format_: Format, file: BinaryIO, *, can_restart: bool) -> None:
    has_begun = False

    def write(rows: pa.RecordBatchReader) -> None:
        nonlocal has_begun
        if has_begun and not can_restart:
            raise StoreError(
                "a running sweep merged its files while their rows were written: run the same command again, "
                "or name a file with --output"
            )
        if has_begun:
            file.seek(0)
            file.truncate()
        has_begun = True
        write_rows(rows, format_, file)

    question.read(write)


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, which replaces the one of its name in the end, if all went well.

    Raises:
        InputError: It cannot be written.
    """
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():  # a device or a pipe
            with target.open("wb") as file:
                yield file
            return
        with scratch(partial_of(target)) as partial, partial.open("wb") as file:
            yield file
            file.flush()
            partial.replace(target)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
