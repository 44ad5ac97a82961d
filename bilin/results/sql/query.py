"""Queries over a store, answered by DuckDB."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from bilin.errors import QueryError, printable
from bilin.results.schema import ENVIRONMENT_COLUMNS, TIME_COLUMNS, cell_columns, field_info, with_metadata_of
from bilin.results.sql.cells import cells_columns
from bilin.results.sql.sandbox import connect, query_error, seal, syntax_error
from bilin.results.sql.views import VIEWS, check, create_cells, create_views
from bilin.results.store.contents import DEFAULT_STORE, Contents, read_sweeps, sweep_folders

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

_ORDER = {
    "cells": None,  # already in the order of tasks and tiers
    "trials": "sweep, cell_id, lr, seed",
    "lengths": "sweep, trial_id, length",
    "curves": "sweep, trial_id, step, length NULLS FIRST",
    "published": None,  # already in the order of its files
}

_PIVOTS = " (PIVOT is several statements: use max(mean) FILTER (length = 10), or `results table --by length`)"

_NEVER_BRIEF = {"cell_id", "params", "recurrent_params", "spec", "traceback", "schema_version"} | (
    {*ENVIRONMENT_COLUMNS, *TIME_COLUMNS} - {"device"}
)
_BRIEF_IF_FILLED = {"low", "high", "error"}
_BRIEF_IF_VARYING = {"sweep", "stop_reason", "device"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The arguments of a query, checked. See `query`."""

    sql: str | None
    view: str | None
    where: str | None
    select: str | None
    sort: str | None
    limit: int | None

    def __post_init__(self) -> None:
        if self.view is not None and self.view not in VIEWS:
            raise QueryError(f"no view {self.view!r}; accepted: {', '.join(VIEWS)}")
        if self.limit is not None and self.limit < 0:
            raise QueryError(f"a limit of {self.limit} rows; accepted: a whole number of at least 0")
        for name in ("sql", "where", "select", "sort"):
            text = getattr(self, name)
            if text is not None and printable(text) != text:
                raise QueryError(f"the {'query' if name == 'sql' else name} is not UTF-8: {printable(text)}")

    @property
    def source(self) -> str:
        """The view to show if there is no SQL."""
        return self.view or "cells"

    def names(self, view: str) -> bool:
        """Return whether it may need a view: it names the view, or names none, as SHOW TABLES does."""
        text = " ".join(filter(None, (self.sql or self.source, self.where, self.select, self.sort))).lower()
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
    """Return rows of a store.

    Args:
        sql: One SELECT over the views `cells`, `trials`, `lengths`, `curves` and `published`; None shows `view`.
        store: Directory of the store.
        sweep: The sweep to look at; None looks at all.
        view: The view to show if there is no `sql`, with all its columns; None shows the columns of `cells` that
            vary or matter.
        where: A condition in SQL that rows must meet.
        select: Columns or expressions in SQL; without it, see `view`.
        sort: Columns in SQL to sort by, each with or without ``DESC``.
        limit: The greatest number of rows.
        everything: Include rows that the grid of the last launch does not ask for.

    Warns:
        DamageWarning: For each damaged file, whose rows are skipped.

    Raises:
        QueryError: The query is not valid.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    question = Question(sql=sql, view=view, where=where, select=select, sort=sort, limit=limit)
    return read_sweeps(
        sweep_folders(store, sweep),
        lambda sweeps: _answer(question, sweeps, everything=everything),
        curves=question.names("curves"),
    )


def brief(table: pa.Table) -> pa.Table:
    """Return the rows of a view with the columns that vary, and those that always matter."""
    return table.select([name for name in table.column_names if _is_brief(table, name)])


def _is_brief(table: pa.Table, name: str) -> bool:
    column, field = table[name], field_info(table.schema.field(name))
    is_filled = bool(column.null_count < len(column))
    if name in _NEVER_BRIEF:
        return False
    if name in ("task", "tier") or (field and field.required):
        return is_filled or not len(column)
    if name in _BRIEF_IF_FILLED:
        return is_filled
    if field is None and name not in _BRIEF_IF_VARYING:
        return True
    if pa.types.is_list(column.type):
        return len({str(value) for value in column.to_pylist()}) > 1
    # null is a value of an optional field; of another, it means that the field does not apply
    mode = "all" if field is not None and field.optional else "only_valid"
    return bool(pc.count_distinct(column, mode=mode).as_py() > 1)


def _answer(question: Question, sweeps: Sequence[Contents], *, everything: bool) -> pa.Table:
    import duckdb

    with connect() as connection:
        try:
            named = _named_views(connection, question)
            stored = create_views(connection, sweeps, everything=everything)
            cell = cell_columns(stored)
            if question.names("cells"):  # this view takes the longest to make
                create_cells(connection, cell)
            columns = {
                view: cells_columns(cell) if view == "cells" else connection.table(view).columns for view in VIEWS
            }
            seal(connection)
        except duckdb.Error as error:
            check(sweeps)
            raise syntax_error(error) from error
        try:
            rows = _with_unique_names(_relation(connection, question).to_arrow_table())
        except duckdb.Error as error:
            check(sweeps)
            raise query_error(error, {view: columns[view] for view in named}, columns) from error
    rows = with_metadata_of(rows, stored)
    has_chosen = not (question.sql is None and question.view is None and question.select is None)
    return rows if has_chosen else brief(rows)


def _relation(connection: DuckDBPyConnection, question: Question) -> DuckDBPyRelation:
    """Return the answer, not yet computed. Where, select and sort are parsed as expressions and nothing else."""
    relation = connection.sql(question.sql) if question.sql is not None else connection.table(question.source)
    if question.where is not None:
        # some versions of DuckDB ignore what follows a condition, such as a LIMIT; in brackets it is an error
        connection.extract_statements(f"SELECT 1 WHERE (\n{question.where}\n)")
        relation = relation.filter(question.where)
    if question.sort is not None:
        relation = relation.order(question.sort)
    elif question.sql is None and (order := _ORDER[question.source]):
        relation = relation.order(order)
    if question.select is not None:
        relation = relation.project(question.select)
    return relation if question.limit is None else relation.limit(question.limit)


def _named_views(connection: DuckDBPyConnection, question: Question) -> list[str]:
    """Return the views that a query names.

    Raises:
        QueryError: The SQL is not exactly one SELECT.
    """
    if question.sql is None:
        return [question.source]
    kinds = [statement.type.name for statement in connection.extract_statements(question.sql)]
    if kinds != ["SELECT"]:
        found = ", ".join(kinds) if kinds else "nothing"
        raise QueryError(f"a query must be exactly one SELECT; found: {found}{_PIVOTS if kinds == ['MULTI'] else ''}")
    return [view for view in VIEWS if re.search(rf"\b{view}\b", question.sql, re.IGNORECASE)]


def _with_unique_names(table: pa.Table) -> pa.Table:
    """Rename repeated columns, as in ``SELECT a.*, b.*``: the second ``m`` becomes ``m_2``, and no format loses it."""
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
