"""Queries over a store, answered by DuckDB."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from bilin.errors import QueryError, printable, unknown
from bilin.folder import DEFAULT_STORE
from bilin.results.rows import Rows
from bilin.results.schema import ENVIRONMENT_COLUMNS, TIME_COLUMNS, field_info, with_metadata_of
from bilin.results.sql.open_store import OpenStore, at_one_moment
from bilin.results.sql.sandbox import check_condition, query_error, syntax_error
from bilin.results.sql.views import VIEWS, check

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

T = TypeVar("T")

_BATCH_ROWS = 1 << 13

_ORDER = {
    "cells": None,  # already in the order of tasks and tiers
    "trials": "sweep, cell_id, lr, searched, seed",
    "lengths": "sweep, trial_id, length",
    "curves": "sweep, trial_id, step, coalesce(length = 0, false), length NULLS FIRST",
    "published": None,  # already in the order of its files
}

_PIVOTS = " (PIVOT is several statements: use max(mean) FILTER (length = 10), or `results table --by length`)"

_NEVER_BRIEF = (
    {
        "cell_id",
        "searched",
        "params",
        "recurrent_params",
        "seeds",
        "scores",
        "rungs",
        "test_s",
        "spec",
        "traceback",
        "schema_version",
        "mixed_hardware",
    }
    | {*ENVIRONMENT_COLUMNS, *TIME_COLUMNS}
) - {"device"}
_BRIEF_IF_FILLED = {"low", "high", "error", "found_in", "mixed"}
_NEVER_BRIEF_IN_CELLS = {"low", "high"}  # for as few seeds as there are, `min` and `max` say more
_BRIEF_IF_VARYING = {"sweep", "stop_reason", "device"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask of a store. See `query`, which has the same arguments."""

    sql: str | None = None
    store: Path | str | OpenStore = DEFAULT_STORE
    sweep: str | None = None
    view: str | None = None
    where: str | None = None
    select: str | None = None
    sort: str | None = None
    limit: int | None = None
    everything: bool = False

    def __post_init__(self) -> None:
        if self.view is not None and self.view not in VIEWS:
            raise QueryError(unknown("view", self.view, VIEWS))
        if self.limit is not None and not 0 <= self.limit < 2**63:
            raise QueryError(f"found a limit of {self.limit}; accepted: a whole number from 0 to 2^63 - 1")
        for name in ("sql", "where", "select", "sort"):
            text = getattr(self, name)
            what = "query" if name == "sql" else name
            if text is not None and printable(text) != text:
                raise QueryError(f"the {what} is not UTF-8: {printable(text)}")
            if name != "sql" and text is not None and not text.strip():
                raise QueryError(f"the {name} is empty; accepted: SQL, or no {name}")

    @property
    def source(self) -> str:
        """The view to show if there is no SQL."""
        return self.view or "cells"

    def names(self, view: str) -> bool:
        """Return whether it may need a view: it names the view, or names none, as SHOW TABLES does."""
        text = " ".join(filter(None, (self.sql or self.source, self.where, self.select, self.sort))).lower()
        return view in text or not any(view in text for view in VIEWS)

    def rows(self) -> pa.Table:
        """Return the answer as `query` does."""
        rows = self.read(pa.RecordBatchReader.read_all)
        has_chosen = not (self.sql is None and self.view is None and self.select is None)
        return rows if has_chosen else brief(rows)

    def read(self, consume: Callable[[pa.RecordBatchReader], T]) -> T:
        """Compute the answer in batches, so that it may be larger than memory. Warns and raises as `query` does.

        Args:
            consume: Makes the result. It is called again if a running sweep has replaced a file meanwhile.
        """
        is_about_papers = [name for name in VIEWS if self.names(name)] == ["published"]
        if (
            is_about_papers
            and self.sweep is None
            and not (isinstance(self.store, OpenStore) or Path(self.store).exists())
        ):
            with OpenStore(self.store, []) as opened:
                return _answer(self, opened, consume)
        return at_one_moment(
            self.store,
            lambda opened: _answer(self, opened, consume),
            sweeps=() if self.sweep is None else [self.sweep],
            curves=self.names("curves"),
        )


def query(
    sql: str | None = None,
    *,
    store: Path | str | OpenStore = DEFAULT_STORE,
    sweep: str | None = None,
    view: str | None = None,
    where: str | None = None,
    select: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
    everything: bool = False,
) -> Rows:
    """Return rows of a store.

    Args:
        sql: One SELECT over the views `cells`, `trials`, `lengths`, `curves` and `published`; None shows `view`.
        store: Directory of the store, or one that is open: see `at_one_moment`.
        sweep: The sweep to look at; None looks at all.
        view: The view to show if there is no `sql`, with all its columns; None shows the columns of `cells` that
            vary or matter.
        where: A condition in SQL that rows must meet.
        select: Columns or expressions in SQL; without it, see `view`.
        sort: Columns in SQL to sort by, each with or without ``DESC``.
        limit: Maximum number of rows.
        everything: Include rows that the grid of the last launch does not ask for.

    Warns:
        DamageWarning: For each damaged file, whose rows are skipped.

    Raises:
        QueryError: The query is not valid.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    return Rows(
        Question(
            sql=sql,
            store=store,
            sweep=sweep,
            view=view,
            where=where,
            select=select,
            sort=sort,
            limit=limit,
            everything=everything,
        ).rows()
    )


def brief(table: pa.Table) -> pa.Table:
    """Return the rows of a view with the columns that vary, those that are searched, and those that always matter."""
    searched = table["searched"].to_pylist() if "searched" in table.column_names else []
    names = {field["name"] for fields in searched for field in fields or ()}
    return table.select([name for name in table.column_names if name in names or _is_brief(table, name)])


def _is_brief(table: pa.Table, name: str) -> bool:
    column, field = table[name], field_info(table.schema.field(name))
    is_filled = bool(column.null_count < len(column))
    if name in _NEVER_BRIEF or (name in _NEVER_BRIEF_IN_CELLS and "scores" in table.column_names):
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


def _answer(question: Question, opened: OpenStore, consume: Callable[[pa.RecordBatchReader], T]) -> T:
    import duckdb

    try:
        database = opened.database(question.sweep, everything=question.everything)
        database.prepare(**{view: question.names(view) for view in ("trials", "lengths", "cells", "curves")})
    except duckdb.Error as error:
        check(opened.sweeps)
        raise syntax_error(error) from error
    with database.reading() as connection:
        named = _named_views(connection, question)

        def failure(error: Exception) -> QueryError:
            check(opened.sweeps)
            return query_error(error, {view: database.columns[view] for view in named}, database.columns)

        try:
            rows = _relation(connection, question).to_arrow_reader(_BATCH_ROWS)
        except duckdb.Error as error:
            raise failure(error) from error
        schema = with_metadata_of(_with_unique_names(rows.schema), database.schema)
        with closing(_batches(rows, schema, failure)) as batches:
            return consume(pa.RecordBatchReader.from_batches(schema, batches))


def _batches(
    rows: pa.RecordBatchReader, schema: pa.Schema, failure: Callable[[Exception], QueryError]
) -> Generator[pa.RecordBatch]:
    """Yield the rows with the columns of a schema. What DuckDB raises meanwhile reaches Arrow as its own errors."""
    with rows:
        while True:
            try:
                batch = rows.read_next_batch()
            except StopIteration:
                return
            except (OSError, pa.ArrowException) as error:
                raise failure(error) from error
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _relation(connection: DuckDBPyConnection, question: Question) -> DuckDBPyRelation:
    """Return the answer, not yet computed. Where, select and sort are parsed as expressions and nothing else."""
    relation = connection.sql(question.sql) if question.sql is not None else connection.table(question.source)
    if question.where is not None:
        check_condition(connection, question.where)
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
    import duckdb

    if question.sql is None:
        return [question.source]
    try:
        kinds = [statement.type.name for statement in connection.extract_statements(question.sql)]
    except duckdb.Error as error:
        raise syntax_error(error) from error
    if kinds != ["SELECT"]:
        found = ", ".join(kinds) if kinds else "nothing"
        raise QueryError(f"a query must be exactly one SELECT; found: {found}{_PIVOTS if kinds == ['MULTI'] else ''}")
    return [view for view in VIEWS if re.search(rf"\b{view}\b", question.sql, re.IGNORECASE)]


def _with_unique_names(schema: pa.Schema) -> pa.Schema:
    """Rename repeated columns, as in ``SELECT a.*, b.*``: the second ``m`` becomes ``m_2``, and no format loses it."""
    taken = {name.lower() for name in schema.names}
    seen: set[str] = set()
    columns = []
    for column in schema:
        name = column.name
        if name.lower() in seen:
            suffixed = (f"{name}_{number}" for number in itertools.count(2))
            name = next(free for free in suffixed if free.lower() not in taken)
            taken.add(name.lower())
        seen.add(name.lower())
        columns.append(column.with_name(name))
    return pa.schema(columns)
