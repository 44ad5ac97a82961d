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
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from bilin.errors import QueryError
from bilin.results.markup import Sheet, Text, html_page, html_table, latex
from bilin.units import plural

MISSING = "–"  # noqa: RUF001 (a dash, as in printed tables)

_SIGNIFICANT_DIGITS = 5

_ROW_GROUP_BYTES = 32 << 20

_MARKUP = re.compile(r"[\\|*<`~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|(?<=])\(")
"""What Markdown takes for more than a character. An underscore within a word is none."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Format(StrEnum):
    """How a table is written; CSV, JSON and Parquet keep every digit."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    LATEX = "latex"
    HTML = "html"
    PARQUET = "parquet"

    @classmethod
    def of_file(cls, path: Path) -> Format | None:
        """Return the format that the ending of a file's name says; None if it says none."""
        return _ENDINGS.get(path.suffix.lower())

    @property
    def is_for_machines(self) -> bool:
        """Whether it has the exact values of every column."""
        return self in (Format.CSV, Format.JSON, Format.PARQUET)


_ENDINGS = {
    ".csv": Format.CSV,
    ".json": Format.JSON,
    ".md": Format.MARKDOWN,
    ".tex": Format.LATEX,
    ".html": Format.HTML,
    ".parquet": Format.PARQUET,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number, with its interval and the number of seeds if these are to be shown.

    If the interval is symmetric, it is shown as ± half its width, else by its ends. A mark refers to a note.

    Attributes:
        missing: What stands for a value that is None.
        decimals: How many digits are shown after the point.
        is_share: Whether 1 means that everything was right: less is never rounded to it.
        is_best: Whether it is bold.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    is_symmetric: bool = False
    num_seeds: int | None = None
    mark: str = ""
    missing: str = MISSING
    decimals: int = 2
    is_share: bool = True
    is_best: bool = False

    @property
    def number(self) -> str:
        """The number alone."""
        return self.missing if self.value is None else self._rounded(self.value)

    @property
    def rest(self) -> str:
        """What stands behind the number."""
        if self.value is None:
            return ""
        interval = ""
        if self.low is not None and self.high is not None:
            ends = [self._rounded(end) for end in (self.low, self.high)]
            half = self._rounded((self.high - self.low) / 2)
            interval = f" ± {half}" if self.is_symmetric else f" [{', '.join(ends)}]"
        seeds = "" if self.num_seeds is None else f" ({self.num_seeds})"
        return f"{interval}{seeds}{self.mark}"

    def __str__(self) -> str:
        return self.number + self.rest

    def contains(self, other: Estimate) -> bool:
        """Return whether the number of another is in the interval of this one."""
        if self.low is None or self.high is None or other.value is None:
            return False
        return self.low <= other.value <= self.high

    def _rounded(self, number: float) -> str:
        highest = 1 - 10**-self.decimals if self.is_share and number < 1 else number
        text = f"{min(number, highest):.{self.decimals}f}"
        return text.removeprefix("-") if not text.strip("-0.") else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How people see a column.

    Attributes:
        name: The column of the data.
        heading: The text above it; the name of a column has its unit, as ``wall_s`` does.
        section: The title of the section that it is in; None for a column that every section begins with.
        missing: The text for a missing value.
        values: Values to show instead of the exact ones, for example each an `Estimate`.
        follows: Whether it says something about the column before it, and stays beside it.
    """

    name: str
    heading: str
    section: str | None = ""
    right_aligned: bool = False
    missing: str = ""
    values: Sequence[Any] | None = None
    follows: bool = False

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
        groups: The group of each row, if rows are grouped. LaTeX and HTML have a rule between groups.
    """

    data: pa.Table
    columns: Sequence[Column]
    note: str = ""
    groups: Sequence[Any] = ()

    @classmethod
    def of(cls, data: pa.Table) -> ResultTable:
        """Return a table of one section without a title."""
        columns = [
            Column(name=field.name, heading=field.name, right_aligned=is_number(field.type)) for field in data.schema
        ]
        return cls(data=data, columns=columns)

    def sections(self) -> list[Section]:
        """Return the sections, each with the rows that have a value there."""
        values = self._values()
        shared = [index for index, column in enumerate(self.columns) if column.section is None]
        sections = []
        for title in dict.fromkeys(column.section for column in self.columns if column.section is not None):
            own = [index for index, column in enumerate(self.columns) if column.section == title]
            columns = [self.columns[index] for index in [*shared, *own]]
            rows = zip(*(values[index] for index in [*shared, *own]), strict=True)
            shown = [row for row in rows if not title or any(value is not None for value in row[len(shared) :])]
            sections.append(Section(title=title, columns=columns, rows=shown))
        return sections

    def sheet(self) -> Sheet:
        """Return the texts of the whole table."""
        rows = zip(*self._values(), strict=True)
        return Sheet(
            sections=[column.section and readable(column.section) for column in self.columns],
            headings=[readable(column.heading) for column in self.columns],
            right_aligned=[column.right_aligned or _has_estimates(column) for column in self.columns],
            rows=[[_text(column, value) for column, value in zip(self.columns, row, strict=True)] for row in rows],
            groups=self.groups or [None] * self.data.num_rows,
            note=self.note,
        )

    def _values(self) -> list[Sequence[Any]]:
        """Return the values of each column that people see."""
        return [
            self.data[column.name].to_pylist() if column.values is None else column.values for column in self.columns
        ]

    def __repr__(self) -> str:
        return encode(self, Format.TABLE).decode()

    def _repr_html_(self) -> str:
        return html_table(self.sheet())


def _has_estimates(column: Column) -> bool:
    return any(isinstance(value, Estimate) for value in column.values or ())


def _text(column: Column, value: Any) -> Text:
    if isinstance(value, Estimate):
        return Text(value.number, value.rest, value.is_best)
    return Text(column.text(value), "") if column.right_aligned else Text("", column.text(value))


def is_number(type_: pa.DataType) -> bool:
    """Return whether the values of a column are numbers."""
    return any(is_kind(type_) for is_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))


def encode(table: ResultTable, format_: Format) -> bytes:
    """Return a table in a format; all but Parquet as UTF-8 that ends with a newline."""
    if format_.is_for_machines:
        buffer = io.BytesIO()
        write_rows(table.data.to_reader(), format_, buffer)
        return buffer.getvalue()
    if format_ in (Format.LATEX, Format.HTML):
        return (latex if format_ is Format.LATEX else html_page)(table.sheet()).encode()
    write, line = (_plain, str) if format_ is Format.TABLE else (_markdown, _markdown_line)
    texts = [
        f"{line(readable(section.title))}\n\n{write(section)}\n" if section.title else write(section)
        for section in table.sections()
    ]
    before = "\n" if texts and not texts[-1].endswith("\n\n") else ""
    note = "\n".join(map(line, table.note.splitlines()))
    return "".join([*texts, f"{before}{note}\n" if note else ""]).encode()


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


def _plain(section: Section) -> str:
    rows = section.texts()
    headings = [readable(column.heading) for column in section.columns]
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
        if isinstance(value, Estimate) and value.is_best:
            return f"**{value.number}**{_escaped(value.rest)}"
        return _escaped(value if isinstance(value, str) else column.text(value))

    header = line([_escaped(readable(column.heading)) for column in section.columns])
    rule = line(["---:" if column.right_aligned else "---" for column in section.columns])
    rows = ([cell(column, value) for column, value in zip(section.columns, row, strict=True)] for row in section.rows)
    return header + rule + "".join(map(line, rows))


def _escaped(text: str) -> str:
    """Return a text on one line, in which nothing is markup: emphasis, code, HTML, entities or links."""
    return re.sub(r"\r\n|\r|\n", "<br>", _MARKUP.sub(r"\\\g<0>", text))


def _markdown_line(text: str) -> str:
    """Return a line that begins no list, heading, quotation or definition."""
    return re.sub(r"^(\s*)([#>=+-]|\[(?=[^]]*]:))|^(\s*\d+)([.)])(?!\S)", r"\1\3\\\2\4", _escaped(text))


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
    for field in rows.schema:
        try:
            pq.ParquetWriter(io.BytesIO(), pa.schema([field])).close()
        except pa.ArrowException as error:
            found = f"found the column {field.name} of type {field.type}, which Parquet has not"
            raise QueryError(f"{found}; accepted: CSV or JSON, or a query that casts it to VARCHAR") from error
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
    if isinstance(value, pa.MonthDayNano):
        parts = [plural(count, what) for count, what in ((value.months, "month"), (value.days, "day")) if count]
        return " ".join([*parts, str(timedelta(microseconds=value.nanoseconds / 1000))])
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return value.hex() if isinstance(value, bytes) else str(value)
