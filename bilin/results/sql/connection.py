"""A DuckDB that reaches nothing but the tables that it is handed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SETTINGS = (
    "TimeZone = 'UTC'",  # stored times are in UTC, without zone
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "python_enable_replacements = false",  # no Python variable becomes a table
    "temp_directory = ''",
    "enable_external_access = false",  # no file, no network, no extension
)


def connect() -> DuckDBPyConnection:
    """A database in memory that can open no file, reach no network and load no extension."""
    import duckdb  # a tenth of a second, and only for queries

    connection = duckdb.connect(":memory:")
    for setting in _SETTINGS:
        connection.execute(f"SET {setting}")
    return connection


def seal(connection: DuckDBPyConnection) -> None:
    """Refuse from now on every change, to tables and to settings; what `connect` set stays."""
    connection.execute("SET lock_configuration = true")
    connection.execute("BEGIN TRANSACTION READ ONLY")
