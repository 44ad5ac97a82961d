"""The answer to a query from Python: an Arrow table that shows itself well, for any library of data frames."""

from __future__ import annotations

import importlib
from typing import Any

import pyarrow as pa

from bilin.errors import InputError
from bilin.notebook import html_table
from bilin.results.result_table import ResultTable

MAX_SHOWN = 20
"""How many rows of a longer table are shown."""


class Rows:
    """The rows of a query.

    It has everything that a `pyarrow.Table` has, such as ``num_rows``, ``column_names`` and ``to_pylist()``, and the
    libraries that read Arrow data take it as it is.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def to_arrow(self) -> pa.Table:
        """Return the rows as a `pyarrow.Table`."""
        return self._table

    def to_pandas(self) -> Any:
        """Return the rows as a data frame of pandas. Whole numbers and booleans stay what they are beside nulls.

        Raises:
            InputError: pandas is not installed.
        """
        pandas = _load("pandas")
        types = {pa.int64(): pandas.Int64Dtype(), pa.bool_(): pandas.BooleanDtype()}
        return self._table.to_pandas(types_mapper=types.get)

    def to_polars(self) -> Any:
        """Return the rows as a data frame of polars.

        Raises:
            InputError: polars is not installed.
        """
        return _load("polars").from_arrow(self._table)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, column: str | int) -> pa.ChunkedArray:
        return self._table[column]

    def __eq__(self, other: object) -> bool:
        return bool(self._table == (other._table if isinstance(other, Rows) else other))

    __hash__ = None  # type: ignore[assignment]

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of the table, only what is public
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._table, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in dir(self._table) if not name.startswith("_"))})

    def __repr__(self) -> str:
        names = ", ".join(self._table.column_names)
        return f"<Rows {self._table.num_rows} × {self._table.num_columns}: {names}>"  # noqa: RUF001

    def _repr_html_(self) -> str:
        sections = ResultTable.of(self._table.slice(0, MAX_SHOWN)).sections()
        if not sections:
            return html_table((), ())
        section = sections[0]
        right_aligned = {index for index, column in enumerate(section.columns) if column.right_aligned}
        headings = [column.heading for column in section.columns]
        num_more = self._table.num_rows - MAX_SHOWN
        below = f"<p>and {num_more} more rows</p>" if num_more > 0 else ""
        return html_table(headings, section.texts(), right_aligned=right_aligned) + below


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"to_{name} needs {name}, which cannot be imported: pip install {name} ({error})") from error
