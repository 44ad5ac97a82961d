"""Questions to a store, answered by DuckDB."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from bilin.errors import QueryError, printable
from bilin.results.columns import describe
from bilin.results.schema import cell_columns
from bilin.results.sql.brief import brief
from bilin.results.sql.connection import connect, seal
from bilin.results.sql.faults import query_error, syntax_error
from bilin.results.sql.snapshot import Snapshot
from bilin.results.sql.views import VIEWS, create_cells, create_views, view_columns
from bilin.results.store import DEFAULT_STORE, existing_sweep, read_sweeps, sweep_directory, sweep_names

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

_ORDER = {
    "cells": None,  # comes in the order of tasks and tiers
    "trials": "sweep, cell_id, lr, seed",
    "lengths": "sweep, trial_id, length",
    "curves": "sweep, trial_id, step, length NULLS FIRST",
    "published": None,  # comes in the order of its files
}

_PIVOTS = " (PIVOT makes several of it: write max(mean) FILTER (length = 10), or see `results table --by length`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: a SELECT or else a view, and what to make of its rows; see `query`."""

    sql: str | None
    view: str | None
    where: str | None
    select: str | None
    sort: str | None
    limit: int | None

    def __post_init__(self) -> None:
        if self.view is not None and self.view not in VIEWS:
            raise QueryError(f"there is no view {self.view!r}; there: {', '.join(VIEWS)}")
        if self.limit is not None and self.limit < 0:
            raise QueryError(f"a limit of {self.limit} rows: it is a whole number of at least 0")
        for name in ("sql", "where", "select", "sort"):
            text = getattr(self, name)
            if text is not None and printable(text) != text:
                raise QueryError(f"the {'query' if name == 'sql' else name} is not UTF-8: {printable(text)}")

    @property
    def source(self) -> str:
        """The view to look at without SQL."""
        return self.view or "cells"

    @property
    def is_open(self) -> bool:
        """Whether nothing says which columns to show."""
        return self.sql is None and self.view is None and self.select is None

    def names(self, view: str) -> bool:
        """Whether it may need a view: it names it, or it names none, as SHOW TABLES does."""
        parts = (self.sql or self.source, self.where, self.select, self.sort)
        text = " ".join(part for part in parts if part).lower()
        return view in text or not any(view in text for view in VIEWS)


def query(
    sql: str | None = None,
    *,
    store: Path | str = DEFAULT_STORE,
    sweep: str | None = None,
    view: str | None = None,
    where: str | None = None,
    select: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
    everything: bool = False,
) -> pa.Table:
    """Rows of a store.

    Args:
        sql: One SELECT over the views `cells`, `trials`, `lengths`, `curves` and `published`; None asks for `view`.
        store: Directory of the store.
        sweep: The one sweep to look at; None looks at all.
        view: The view to look at without `sql`, with all its columns; None is `cells` with those that vary
            or matter.
        where: A condition in SQL that rows must meet.
        select: Columns or expressions in SQL; see `view`.
        sort: Columns in SQL to sort by, each with ``DESC`` or not.
        limit: The greatest number of rows.
        everything: Also rows that the grid as it was last launched does not want.

    Warns:
        DamageWarning: Of each file that is damaged; what it holds is left out.

    Raises:
        QueryError: It cannot be answered as asked.
        StoreError: The store or sweep is not there, or cannot be read.
    """
    question = Question(sql=sql, view=view, where=where, select=select, sort=sort, limit=limit)
    if sweep is None:
        directories = [sweep_directory(store, name) for name in sweep_names(store)]
    else:
        directories = [existing_sweep(store, sweep)]
    return read_sweeps(
        directories,
        lambda sweeps: _answer(question, Snapshot(sweeps), everything=everything),
        curves=question.names("curves"),
    )


def _answer(question: Question, snapshot: Snapshot, *, everything: bool) -> pa.Table:
    import duckdb

    with connect() as connection:
        try:
            asked = _asked(connection, question)
            stored = create_views(connection, snapshot, everything=everything)
            cell = cell_columns(stored)
            if question.names("cells"):  # which take the longest to make
                create_cells(connection, cell)
            columns = view_columns(connection, cell)
            seal(connection)
        except duckdb.Error as error:
            snapshot.check()
            raise syntax_error(error) from error
        try:
            table = _with_unique_names(_relation(connection, question).to_arrow_table())
        except duckdb.Error as error:
            snapshot.check()
            raise query_error(error, {view: columns[view] for view in asked}, columns) from error
    table = describe(table, stored)
    return brief(table) if question.is_open else table


def _relation(connection: DuckDBPyConnection, question: Question) -> DuckDBPyRelation:
    """What is asked, unread. Where, select and sort are parsed as expressions: nothing else gets through."""
    relation = connection.sql(question.sql) if question.sql is not None else connection.table(question.source)
    if question.where is not None:
        # some versions of DuckDB ignore what follows a condition, such as a LIMIT; in brackets it is a fault
        connection.extract_statements(f"SELECT 1 WHERE (\n{question.where}\n)")
        relation = relation.filter(question.where)
    if question.sort is not None:
        relation = relation.order(question.sort)
    elif question.sql is None and (order := _ORDER[question.source]):
        relation = relation.order(order)
    if question.select is not None:
        relation = relation.project(question.select)
    return relation if question.limit is None else relation.limit(question.limit)


def _asked(connection: DuckDBPyConnection, question: Question) -> list[str]:
    """The views that are asked for.

    Raises:
        QueryError: The SQL is not exactly one SELECT.
    """
    if question.sql is None:
        return [question.source]
    kinds = [statement.type.name for statement in connection.extract_statements(question.sql)]
    if kinds != ["SELECT"]:
        found = ", ".join(kinds) if kinds else "nothing"
        raise QueryError(f"a query is exactly one SELECT; found: {found}{_PIVOTS if kinds == ['MULTI'] else ''}")
    return [view for view in VIEWS if re.search(rf"\b{view}\b", question.sql, re.IGNORECASE)]


def _with_unique_names(table: pa.Table) -> pa.Table:
    """``SELECT a.*, b.*`` may name a column twice; the second becomes ``m_2``, so that no format loses it."""
    taken = {name.lower() for name in table.column_names}
    seen: set[str] = set()
    names = []
    for name in table.column_names:
        if name.lower() in seen:
            suffixed = (f"{name}_{number}" for number in itertools.count(2))
            name = next(free for free in suffixed if free.lower() not in taken)
            taken.add(name.lower())
        seen.add(name.lower())
        names.append(name)
    return table.rename_columns(names)
