"""The sweeps of a store at one instant, as tables that DuckDB scans through Arrow.

DuckDB itself opens no file: what a query can reach is what is handed to it here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
from pyarrow.fs import LocalFileSystem

from bilin.results.columns import conform, conforms, unite
from bilin.results.schema import CURVES, trials_schema
from bilin.results.store import WANTED_SCHEMA, Contents, read_schema, stream_rows

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

_ORIGIN = pa.schema({"sweep": pa.string(), "part": pa.int64()})
"""Where a row comes from: its sweep, and the position of its part there, oldest first."""


_File: TypeAlias = tuple[str, int, Path]
"""A sweep, the position of a part there, and its file."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Some sweeps, each with what is whole of it."""

    sweeps: Sequence[Contents]

    def trials(self) -> Dataset:
        """Every stored row of a trial, superseded ones too, with `_ORIGIN`.

        Raises:
            FileNotFoundError: A part is gone.
            StoreError: A part cannot be read.
        """
        files = {file: read_schema(file[-1]) for file in self._trials()}
        schema = unite([pa.schema([*_ORIGIN, *trials_schema()]), *files.values()])
        odd = [file for file, columns in files.items() if not conforms(columns, schema)]
        fitting = _dataset((file for file in files if file not in odd), schema)
        return _joined([fitting, *(_table(file, schema) for file in odd)]) if odd else fitting

    def curves(self) -> Dataset:
        """Every stored row of a curve, with `_ORIGIN`."""
        return _dataset(self._curves(), pa.unify_schemas([_ORIGIN, CURVES]))

    def wanted(self) -> pa.Table:
        """What the grids want now, with the sweep's name; a sweep without a grid has no row."""
        tables = [pa.schema([_ORIGIN.field("sweep"), *WANTED_SCHEMA]).empty_table()]
        for sweep in self.sweeps:
            if sweep.wanted is not None:
                name = pa.repeat(pa.scalar(sweep.directory.name), sweep.wanted.num_rows)
                tables.append(sweep.wanted.add_column(0, _ORIGIN.field("sweep"), name))
        return pa.concat_tables(tables)

    def check(self) -> None:
        """Look at every part; raises as `trials` does."""
        for _, _, path in [*self._trials(), *self._curves()]:
            read_schema(path)

    def _trials(self) -> Iterator[_File]:
        for sweep in self.sweeps:
            for position, part in enumerate(sweep.manifest.parts):
                yield sweep.directory.name, position, part.trials_path(sweep.directory)

    def _curves(self) -> Iterator[_File]:
        for sweep in self.sweeps:
            for position, part in enumerate(sweep.manifest.parts):
                if part.curves:
                    yield sweep.directory.name, position, part.curves_path(sweep.directory)


def _dataset(files: Iterable[_File], schema: pa.Schema) -> Dataset:
    import pyarrow.dataset as ds  # a second where it finds pandas, and only for queries

    parquet, filesystem = ds.ParquetFileFormat(), LocalFileSystem()
    fragments = [
        parquet.make_fragment(
            os.fspath(path),
            filesystem,
            partition_expression=(ds.field("sweep") == sweep) & (ds.field("part") == position),
        )
        for sweep, position, path in files
    ]
    return ds.FileSystemDataset(fragments, schema, parquet, filesystem)


def _table(file: _File, schema: pa.Schema) -> pa.Table:
    """The rows of a part with a column that Arrow does not convert to what the schema has."""
    sweep, position, path = file
    rows = pa.concat_tables([conform(table, schema) for table in stream_rows(path, ())])
    rows = rows.append_column(_ORIGIN.field("sweep"), pa.repeat(pa.scalar(sweep), rows.num_rows))
    rows = rows.append_column(_ORIGIN.field("part"), pa.repeat(pa.scalar(position), rows.num_rows))
    return pa.concat_tables([schema.empty_table(), rows], promote_options="default")


def _joined(parts: Iterable[Dataset | pa.Table]) -> Dataset:
    import pyarrow.dataset as ds

    return ds.dataset([ds.dataset(part) if isinstance(part, pa.Table) else part for part in parts])
