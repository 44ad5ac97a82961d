"""The formats that tables of results are written in. Standard library only."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """How a table is written; all but `TABLE` and `MARKDOWN` keep every digit."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    PARQUET = "parquet"
