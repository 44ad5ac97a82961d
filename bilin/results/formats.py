"""An Arrow table as bytes to print or to keep: exact for machines, readable for people."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class Format(StrEnum):
    """How a table is written; all but `TABLE` and `MARKDOWN` keep every digit."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    PARQUET = "parquet"


_SIGNIFICANT_DIGITS = 5

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def encode(table: pa.Table, format_: Format) -> bytes:
    """The table in a format; all but Parquet as UTF-8 that ends with a newline."""
    if format_ is Format.PARQUET:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()
    write = {
        Format.TABLE: _aligned,
        Format.CSV: _csv,
        Format.JSON: _json,
        Format.MARKDOWN: _markdown,
    }[format_]
    return write(table).encode()


def readable(value: Any) -> str:
    """A value for people: rounded numbers, times to the second, nothing for null, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{_SIGNIFICANT_DIGITS}g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    text = value if isinstance(value, str) else _plain(value)
    return _CONTROL.sub(lambda found: repr(found.group())[1:-1], text)


def is_number(type_: pa.DataType) -> bool:
    """Whether a column's values are set flush right."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def _aligned(table: pa.Table) -> str:
    columns = [[name, *map(readable, column.to_pylist())] for name, column in _named(table)]
    widths = [max(map(len, column)) for column in columns]
    right = [is_number(field.type) for field in table.schema]

    def line(values: Sequence[str]) -> str:
        cells = zip(values, widths, right, strict=True)
        return "  ".join(value.rjust(width) if flush else value.ljust(width) for value, width, flush in cells).rstrip()

    header, *rows = zip(*columns, strict=True)
    return "".join(f"{text}\n" for text in (line(header), line(["-" * width for width in widths]), *map(line, rows)))


def _csv(table: pa.Table) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(_rows(table, _plain))
    return text.getvalue()


def _json(table: pa.Table) -> str:
    objects = [dict(zip(table.column_names, row, strict=True)) for row in _rows(table, _json_value)]
    lines = ",\n".join(json.dumps(item, ensure_ascii=False, allow_nan=False) for item in objects)
    return f"[\n{lines}\n]\n" if objects else "[]\n"


def _markdown(table: pa.Table) -> str:
    def line(values: Sequence[str]) -> str:
        return f"| {' | '.join(values)} |\n"

    header = line([_escaped(name) for name in table.column_names])
    rule = line(["---:" if is_number(field.type) else "---" for field in table.schema])
    return header + rule + "".join(map(line, _rows(table, _markdown_cell)))


def _rows(table: pa.Table, write: Any) -> list[tuple[Any, ...]]:
    columns = [[write(value) for value in column.to_pylist()] for column in table.columns]
    return list(zip(*columns, strict=True))


def _named(table: pa.Table) -> zip[tuple[str, pa.ChunkedArray]]:
    return zip(table.column_names, table.columns, strict=True)


def _plain(value: Any) -> str:
    """A value with every digit, as CSV has it."""
    value = value if isinstance(value, float) else _json_value(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value) if isinstance(value, float) else json.dumps(value)


def _json_value(value: Any) -> Any:
    """A value as JSON knows it: NaN and infinities are null, times ISO 8601 in UTC."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return value.hex() if isinstance(value, bytes) else str(value)


def _markdown_cell(value: Any) -> str:
    if isinstance(value, str):
        return _escaped(value)
    return _escaped(readable(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r\n", "<br>").replace("\n", "<br>")
