"""DuckDB's errors in the words of whoever asked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from bilin.errors import QueryError

Columns = Mapping[str, Sequence[str]]
"""The columns of views by their names."""

_COLUMN = re.compile(
    r'(?:column|column named) "([^"]+)"[^\n]*(?:not found|does not exist)|have a column named "([^"]+)"'
)
_TABLE = re.compile(r"Table with name (.+?) does not exist")
_OUTSIDE = re.compile(r"operations are disabled|external access|disabled (?:through|by) configuration", re.IGNORECASE)
_READ_ONLY = re.compile(r"read-only|read only")
_GROUP = re.compile(r'LINE \d+:[^\n]*(?<![".])\bgroup\b(?!"|\s+by\b)', re.IGNORECASE)
"""A line of SQL with the column `group` as it cannot be written there."""


def query_error(error: Exception, asked: Columns, views: Columns) -> QueryError:
    """What to tell the user.

    Args:
        error: What DuckDB raised.
        asked: The columns of each view that the query names.
        views: The columns of every view.
    """
    text = str(error)
    if match := _COLUMN.search(text):
        return QueryError(_unknown_column(match.group(1) or match.group(2), asked or views, views))
    if match := _TABLE.search(text):
        name = match.group(1)
        return QueryError(f"there is no view {name!r}{_nearest(name, views)}; there: {_listed(views)}")
    if _OUTSIDE.search(text):
        return QueryError(f"a query reads {_listed(views)} alone, no file, network or extension: {_first(text)}")
    if _READ_ONLY.search(text):
        return QueryError(f"a query only reads: {_first(text)}")
    return syntax_error(error)


def syntax_error(error: Exception) -> QueryError:
    """What DuckDB says, and how to write a column whose name is a word of SQL."""
    hint = '\n\nthe column group is written "group", in double quotes' if _GROUP.search(str(error)) else ""
    return QueryError(f"{error}{hint}")


def _unknown_column(column: str, asked: Columns, views: Columns) -> str:
    known = [name for names in asked.values() for name in names]
    elsewhere = [view for view in views if view not in asked and column in views[view]]
    hint = f"; it is a column of {_listed(elsewhere)}" if elsewhere else _nearest(column, known)
    lists = [f"{view}: {_listed(names)}" for view, names in asked.items()]
    return "\n".join([f"there is no column {column!r} in {_listed(asked)}{hint}", *lists])


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest is {close[0]!r}" if close else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _first(text: str) -> str:
    return text.split("\n", 1)[0]
