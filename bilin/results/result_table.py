"""The one model of a table of results, and how each format writes it.

Formats for machines (CSV, JSON, Parquet) write the exact values of the whole table, row after row. Formats for people
write its sections one after the other, with rounded values; such a format is one function of a section.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

MISSING = "–"  # noqa: RUF001 (a dash, as in printed tables)

_SIGNIFICANT_DIGITS = 5

_ROW_GROUP_BYTES = 32 << 20

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Format(StrEnum):
    """How a table is written; all but `TABLE` and `MARKDOWN` keep every digit."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    PARQUET = "parquet"

    @classmethod
    def of_file(cls, path: Path) -> Format | None:
        """Return the format that the ending of a file's name says; None if it says none."""
        endings = {".csv": cls.CSV, ".json": cls.JSON, ".md": cls.MARKDOWN, ".parquet": cls.PARQUET}
        return endings.get(path.suffix.lower())

    @property
    def is_for_machines(self) -> bool:
        """Whether it has the exact values of every column."""
        return self in (Format.CSV, Format.JSON, Format.PARQUET)


@dataclass(frozen=True, slots=True)
class Estimate:
    """An accuracy, with its interval and the number of seeds if these are to be shown.

    If the interval is symmetric, it is shown as ± half its width, else by its ends. A mark refers to a note.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    is_symmetric: bool = False
    num_seeds: int | None = None
    mark: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return MISSING
        interval = ""
        if self.low is not None and self.high is not None:
            half = _two_digits((self.high - self.low) / 2)
            interval = f" ± {half}" if self.is_symmetric else f" [{_two_digits(self.low)}, {_two_digits(self.high)}]"
        seeds = "" if self.num_seeds is None else f" ({self.num_seeds})"
        return f"{_two_digits(self.value)}{interval}{seeds}{self.mark}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How people see a column.

    Attributes:
        name: The column of the data.
        heading: The text above it; the name of a column has its unit, as ``wall_s`` does.
        section: The title of the section that it is in; None for a column that every section begins with.
        missing: The text for a missing value.
        values: Values to show instead of the exact ones, for example each an `Estimate`.
    """

    name: str
    heading: str
    section: str | None = ""
    right_aligned: bool = False
    missing: str = ""
    values: Sequence[Any] | None = None

    def text(self, value: Any) -> str:
        """Return a value for people, on one line."""
        return self.missing if value is None else readable(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Columns of a table that people see as a table of their own, with the rows of their values."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]

    def texts(self) -> list[list[str]]:
        """Return the rows for people, each value on one line."""
        return [[column.text(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResultTable:
    """A table of results.

    Attributes:
        data: The exact values.
        columns: How people see `data`; columns that are not here are for machines.
        note: What the numbers are, in one line; further lines say which of them are not comparable.
    """

    data: pa.Table
    columns: Sequence[Column]
    note: str = ""

    @classmethod
    def of(cls, data: pa.Table) -> ResultTable:
        """Return a table of one section without a title."""
        is_number = pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal
        columns = [
            Column(name=field.name, heading=field.name, right_aligned=any(is_kind(field.type) for is_kind in is_number))
            for field in data.schema
        ]
        return cls(data=data, columns=columns)

    def sections(self) -> list[Section]:
        """Return the sections, each with the rows that have a value there."""
        values = [
            self.data[column.name].to_pylist() if column.values is None else column.values for column in self.columns
        ]
        shared = [index for index, column in enumerate(self.columns) if column.section is None]
        sections = []
        for title in dict.fromkeys(column.section for column in self.columns if column.section is not None):
            own = [index for index, column in enumerate(self.columns) if column.section == title]
            columns = [self.columns[index] for index in [*shared, *own]]
            rows = zip(*(values[index] for index in [*shared, *own]), strict=True)
            shown = [row for row in rows if not title or any(value is not None for value in row[len(shared) :])]
            sections.append(Section(title=title, columns=columns, rows=shown))
        return sections


def encode(table: ResultTable, format_: Format) -> bytes:
    """Return a table in a format; all but Parquet as UTF-8 that ends with a newline."""
    if format_.is_for_machines:
        buffer = io.BytesIO()
        write_rows(table.data.to_reader(), format_, buffer)
        return buffer.getvalue()
    write = {Format.TABLE: _plain, Format.MARKDOWN: _markdown}[format_]
    texts = [
        f"{section.title}\n\n{write(section)}\n" if section.title else write(section) for section in table.sections()
    ]
    return "".join([*texts, f"{table.note}\n" if table.note else ""]).encode()


def write_rows(rows: pa.RecordBatchReader, format_: Format, file: BinaryIO) -> None:
    """Write rows in a format for machines as they come."""
    if format_ is Format.PARQUET:
        _write_parquet(rows, file)
        return
    for text in {Format.CSV: _csv, Format.JSON: _json}[format_](rows):
        file.write(text.encode())


def readable(value: Any) -> str:
    """Return a value for people: rounded numbers, times to the second, nothing for null, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.{_SIGNIFICANT_DIGITS}g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    text = str(value) if isinstance(value, str | Estimate) else _exact_text(value)
    return _CONTROL.sub(lambda match: repr(match.group())[1:-1], text)


def _two_digits(number: float) -> str:
    text = f"{min(number, 0.99) if number < 1 else number:.2f}"  # 1.00 means that every answer was right
    return "0.00" if text == "-0.00" else text


def _plain(section: Section) -> str:
    rows = section.texts()
    headings = [column.heading for column in section.columns]
    widths = [max(map(len, texts)) for texts in zip(headings, *rows, strict=True)]

    def line(texts: Sequence[str]) -> str:
        cells = zip(texts, widths, section.columns, strict=True)
        return "  ".join(
            text.rjust(width) if column.right_aligned else text.ljust(width) for text, width, column in cells
        )

    lines = [headings, ["-" * width for width in widths], *rows]
    return "".join(f"{line(texts).rstrip()}\n" for texts in lines)


def _markdown(section: Section) -> str:
    def line(texts: Sequence[str]) -> str:
        return f"| {' | '.join(texts)} |\n"

    def cell(column: Column, value: Any) -> str:
        return _escaped(value if isinstance(value, str) else column.text(value))

    header = line([_escaped(column.heading) for column in section.columns])
    rule = line(["---:" if column.right_aligned else "---" for column in section.columns])
    rows = ([cell(column, value) for column, value in zip(section.columns, row, strict=True)] for row in section.rows)
    return header + rule + "".join(map(line, rows))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r\n", "<br>").replace("\n", "<br>")


def _csv(rows: pa.RecordBatchReader) -> Iterator[str]:
    for lines in itertools.chain([[rows.schema.names]], (_values(batch, _exact_text) for batch in rows)):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)
        yield text.getvalue()


def _json(rows: pa.RecordBatchReader) -> Iterator[str]:
    before = opening = "[\n"
    for row in itertools.chain.from_iterable(_values(batch, _json_value) for batch in rows):
        values = dict(zip(rows.schema.names, row, strict=True))
        yield before + json.dumps(values, ensure_ascii=False, allow_nan=False)
        before = ",\n"
    yield "[]\n" if before == opening else "\n]\n"


def _write_parquet(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    with pq.ParquetWriter(file, rows.schema, compression="zstd") as writer:
        batches: list[pa.RecordBatch] = []
        for batch in rows:
            batches.append(batch)
            if sum(each.nbytes for each in batches) >= _ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(batches))
                batches = []
        writer.write_table(pa.Table.from_batches(batches, rows.schema))


def _values(batch: pa.RecordBatch, write: Callable[[Any], Any]) -> Iterator[tuple[Any, ...]]:
    return zip(*(map(write, column.to_pylist()) for column in batch.columns), strict=True)


def _exact_text(value: Any) -> str:
    """Return a value with every digit, as in CSV."""
    value = value if isinstance(value, float) else _json_value(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value) if isinstance(value, float) else json.dumps(value)


def _json_value(value: Any) -> Any:
    """Return a value for JSON: NaN and infinities as null, times as ISO 8601 in UTC."""
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
