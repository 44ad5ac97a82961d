"""A DuckDB that can read only its own tables and the part files that it is given; errors are messages to the user.

It uses at most half of the memory that the host has left. What needs more is written to a temporary folder.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bilin.errors import QueryError, nearest
from bilin.machine.host import memory_bytes
from bilin.results.scratch import scratch

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_listed = ", ".join

Columns = Mapping[str, Sequence[str]]
"""The columns of views, by the name of the view."""

_SETTINGS = (
    "TimeZone = 'UTC'",  # stored times are in UTC, without zone
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "python_enable_replacements = false",  # no Python variable becomes a table
    "parquet_metadata_cache = true",  # a view reads them again whenever it is named
    "enable_external_access = false",  # no file but the allowed ones and temporary ones, no network, no extension
    "lock_configuration = true",
)

_LEAST_MEMORY = 256 << 20

_COLUMN = re.compile(
    r'(?:column|column named) "([^"]+)"[^\n]*(?:not found|does not exist)|have a column named "([^"]+)"'
)
_TABLE = re.compile(r"Table with name (.+?) does not exist")
_OUTSIDE = re.compile(r"operations are disabled|external access|disabled (?:through|by) configuration", re.IGNORECASE)
_BARE_WORD = re.compile(r"(?:=|<>)\s*([a-z_]\w*)\s*(?:$|\)|\band\b|\bor\b)", re.IGNORECASE)
"""A word that a column is compared to, such as the keyword `full` in ``tier = full``."""

_READ_ONLY = re.compile(r"read-only|read only")
_GROUP = re.compile(r'LINE \d+:[^\n]*(?<![".])\bgroup\b(?!"|\s+by\b)', re.IGNORECASE)
"""A line of SQL with the column `group` without quotes."""


_GROUP_WORD = re.compile(r'(?<![".\w])group\b(?!"|\s+by\b)', re.IGNORECASE)


@contextmanager
def connect(files: Iterable[Path] = ()) -> Iterator[DuckDBPyConnection]:
    """Open a database in memory that can open no file but these, reach no network and load no extension."""
    import duckdb  # a tenth of a second, and only for queries

    folder = Path(tempfile.gettempdir()) / f"bilin-query-{secrets.token_hex(8)}"  # DuckDB makes it when it needs it
    with scratch(folder), duckdb.connect(":memory:") as connection:
        connection.execute("SET temp_directory = ?", [str(folder)])
        with suppress(OSError):  # outside of Linux, DuckDB's own limit applies
            available = memory_bytes()[1]
            connection.execute(f"SET memory_limit = '{max(available // 2, _LEAST_MEMORY) >> 20}MiB'")
        allowed = [text for path in files for text in (os.fspath(path), unpatterned(path))]  # DuckDB looks up both
        connection.execute("SET allowed_paths = ?", [allowed])
        for setting in _SETTINGS:
            connection.execute(f"SET {setting}")
        yield connection


def unpatterned(path: Path) -> str:
    """Return a path as `read_parquet` takes it: DuckDB takes ``*``, ``?`` and ``[`` for patterns of names."""
    return re.sub(r"[*?[]", r"[\g<0>]", os.fspath(path))


def check_condition(connection: DuckDBPyConnection, condition: str) -> None:
    """Raise if a text is not one condition.

    Some versions of DuckDB ignore what follows a condition, such as a LIMIT; in brackets it is an error. Without them,
    so is a condition that closes them, or that is empty.
    """
    import duckdb

    try:
        connection.extract_statements(f"SELECT 1 WHERE (\n{condition}\n)")
        connection.extract_statements(f"SELECT {condition}")
    except duckdb.Error as error:
        reason = str(error).split("\n", 1)[0].partition(": ")[2]
        if ")" not in condition:  # then the one that is named is ours
            reason = reason.replace('at or near ")"', "at its end")
        raise QueryError(
            f"found where: {condition.strip()} ({reason}); accepted: one condition in SQL, for example "
            f"tier = 'cp' AND m > 3{_remedy(condition)}"
        ) from error


def _remedy(condition: str) -> str:
    """Return what to do about a condition that is none, as far as it is known."""
    if _GROUP_WORD.search(condition):
        return '; write the column group in double quotes: "group"'
    if word := _BARE_WORD.search(condition):
        return f"; write text in single quotes: '{word[1]}'"
    return ""


def query_error(error: Exception, named: Columns, views: Columns) -> QueryError:
    """Return DuckDB's error as a message to the user.

    `named` has the columns of each view that the query names, `views` those of every view.
    """
    text = str(error)
    first_line = text.split("\n", 1)[0]
    if match := _COLUMN.search(text):
        return _unknown_column(match[1] or match[2], named or views, views)
    if match := _TABLE.search(text):
        return QueryError(f"no view {match[1]!r}{nearest(match[1], views)}; accepted: {_listed(views)}")
    if _OUTSIDE.search(text):
        return QueryError(f"a query can read {_listed(views)}, but no other file, network or extension: {first_line}")
    if text.startswith("Out of Memory"):
        advice = "narrow the query, or set TMPDIR to a folder on a larger disk"
        return QueryError(
            f"the query needs more memory and temporary disk space than there is: {advice} ({first_line})"
        )
    if _READ_ONLY.search(text):
        return QueryError(f"a query cannot change anything: {first_line}")
    return syntax_error(error)


def syntax_error(error: Exception) -> QueryError:
    """Return DuckDB's message, with a hint if the column `group` needs quotes."""
    hint = '\n\nwrite the column group in double quotes: "group"' if _GROUP.search(str(error)) else ""
    return QueryError(f"{error}{hint}")


def _unknown_column(column: str, named: Columns, views: Columns) -> QueryError:
    elsewhere = [view for view in views if view not in named and column in views[view]]
    near = nearest(column, (name for names in named.values() for name in names))
    hint = (
        f"; it is a column of {_listed(elsewhere)}"
        if elsewhere
        else near or f" (write text in single quotes: '{column}')"
    )
    lists = [f"{view}: {_listed(names)}" for view, names in named.items()]
    return QueryError("\n".join([f"no column {column!r} in {_listed(named)}{hint}", *lists]))
