"""An open store: its sweeps as they were at one moment, with their views, for several questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from bilin.results.schema import cell_columns
from bilin.results.sql.cells import cells_columns, create_cells, select_points
from bilin.results.sql.sandbox import connect
from bilin.results.sql.views import VIEWS, create_curves, create_views, earlier_sql, part_files, prepare_rows
from bilin.results.store.contents import Contents, read_sweeps, sweep_folders

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")


class OpenStore:
    """Some sweeps of a store as they were at one moment. `query` and what uses it take it in place of the path.

    Attributes:
        path: Directory of the store.
        sweeps: What was read of each sweep.
    """

    def __init__(self, path: Path | str, sweeps: Sequence[Contents]) -> None:
        self.path = path
        self.sweeps = sweeps
        self._databases: dict[tuple[tuple[str, ...], bool], Database] = {}
        self._opened = ExitStack()

    def __str__(self) -> str:
        return str(self.path)

    def __enter__(self) -> OpenStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def database(self, sweep: str | None, *, everything: bool) -> Database:
        """Return the views over all sweeps or one, over the rows that the grids want or all."""
        sweeps = [each for each in self.sweeps if sweep in (None, each.folder.name)]
        key = tuple(each.folder.name for each in sweeps), everything
        if key not in self._databases:
            connection = self._opened.enter_context(connect(part_files(sweeps)))
            self._databases[key] = Database(connection, sweeps, everything=everything)
        return self._databases[key]


class Database:
    """The views over some sweeps. What takes long is computed when a question first needs it.

    Attributes:
        sweeps: What the views show.
        schema: The columns of a stored trial.
        columns: The names of the columns of each view.
    """

    def __init__(self, connection: DuckDBPyConnection, sweeps: Sequence[Contents], *, everything: bool) -> None:
        self.sweeps = sweeps
        self.schema, self._is_whole = create_views(connection, sweeps, everything=everything)
        of_cells = cells_columns(cell_columns(self.schema))
        self.columns = {view: of_cells if view == "cells" else connection.table(view).columns for view in VIEWS}
        self._connection = connection
        self._everything = everything
        self._has_rows = self._has_points = self._has_cells = self._has_curves = False

    def prepare(self, *, trials: bool, lengths: bool, cells: bool, curves: bool) -> None:
        """Compute what a question needs that names some views."""
        if curves and not self._has_curves:
            create_curves(self._connection, self.sweeps)
            self._has_curves = True
        if (lengths or (cells and not self._is_whole)) and not self._has_rows:
            prepare_rows(self._connection, everything=self._everything, is_whole=self._is_whole)
            self._has_rows = True
        if (trials or cells) and not self._has_points:
            select_points(self._connection)
            self._has_points = True
        if cells and not self._has_cells:
            fields = pa.schema([self.schema.field(name) for name in cell_columns(self.schema)])
            create_cells(self._connection, fields, list(earlier_sql()), everything=self._everything)
            self._has_cells = True

    @contextmanager
    def reading(self) -> Iterator[DuckDBPyConnection]:
        """Return a connection that can change nothing."""
        self._connection.execute("BEGIN TRANSACTION READ ONLY")
        try:
            yield self._connection
        except BaseException:
            import duckdb

            with suppress(duckdb.Error):  # of an answer that is half read
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("ROLLBACK")


def at_one_moment(
    store: Path | str | OpenStore, ask: Callable[[OpenStore], T], *, sweeps: Sequence[str] = (), curves: bool = False
) -> T:
    """Return what several questions to a store together answer, even while sweeps run.

    Args:
        store: Directory of the store, or one that is open.
        ask: Puts the questions. It is called again if a running sweep has replaced a file meanwhile.
        sweeps: The sweeps to look at; by default all.
        curves: Whether curves are read.

    Warns:
        DamageWarning: For each damaged file, whose rows are skipped.

    Raises:
        StoreError: The store or a sweep does not exist, or cannot be read.
    """
    if isinstance(store, OpenStore):
        return ask(store)
    path = store

    def read(contents: Sequence[Contents]) -> T:
        with OpenStore(path, contents) as opened:
            return ask(opened)

    return read_sweeps(lambda: sweep_folders(store, sweeps), read, curves=curves)
