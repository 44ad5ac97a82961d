from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bilin.results import Format, encode

TABLE = pa.table(
    {
        "text": ["plain", 'a, "b" | c\nd', None],
        "number": [1.23456789, float("nan"), float("-inf")],
        "count": [1, None, 30],
        "flag": [True, False, None],
        "at": [datetime(2026, 1, 2, 3, 4, 5, 600_000), None, None],
        "list": [[2, 10], [], None],
        "sum": [Decimal(7), Decimal("1.5"), None],
    }
)


def text(format_, table=TABLE):
    return encode(table, format_).decode()


def test_json_is_an_array_of_objects_that_every_parser_reads():
    def refuse(constant):
        raise AssertionError(constant)

    first, second, third = json.loads(text(Format.JSON), parse_constant=refuse)
    assert first == {
        "text": "plain", "number": 1.23456789, "count": 1, "flag": True, "at": "2026-01-02T03:04:05.600000Z",
        "list": [2, 10], "sum": 7,
    }  # fmt: skip
    assert (second["text"], second["number"], second["sum"]) == ('a, "b" | c\nd', None, 1.5)
    assert set(third.values()) == {None, 30}
    assert json.loads(text(Format.JSON, TABLE.slice(0, 0))) == []


def test_csv_keeps_every_digit_comma_and_line():
    header, first, second, third = csv.reader(io.StringIO(text(Format.CSV)))
    assert header == TABLE.column_names
    assert first == ["plain", "1.23456789", "1", "true", "2026-01-02T03:04:05.600000Z", "[2, 10]", "7"]
    assert second == ['a, "b" | c\nd', "nan", "", "false", "", "[]", "1.5"]
    assert third == ["", "-inf", "30", "", "", "", ""]


def test_markdown_has_one_line_a_row_whatever_the_text():
    header, rule, *rows = text(Format.MARKDOWN).splitlines()
    assert header == "| text | number | count | flag | at | list | sum |"
    assert rule == "| --- | ---: | ---: | --- | --- | --- | ---: |"
    assert rows[1] == '| a, "b" \\| c<br>d | nan |  | no |  | [] | 1.5 |'
    assert len(rows) == 3


def test_a_plain_table_is_aligned_and_cuts_nothing():
    long = "x" * 500
    header, rule, *rows = text(Format.TABLE, pa.table({"text": [long, "a\nb\x1b[31m"], "n": [1, 200]})).splitlines()
    assert rows == [f"{long}    1", r"a\nb\x1b[31m".ljust(500) + "  200"]
    assert rule == f"{'-' * 500}  ---"
    assert header == f"{'text'.ljust(500)}    n"


def test_an_empty_table_still_has_its_header():
    assert text(Format.TABLE, TABLE.slice(0, 0)).startswith("text  number")
    assert text(Format.CSV, TABLE.slice(0, 0)) == "text,number,count,flag,at,list,sum\n"


def test_parquet_comes_back_as_it_was():
    again = pq.read_table(io.BytesIO(encode(TABLE, Format.PARQUET)))
    assert again.schema == TABLE.schema
    assert again["text"].to_pylist() == TABLE["text"].to_pylist()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        (timedelta(seconds=90), "0:01:30"),
        (b"\x00\xff", "00ff"),
        ({"a": [1.5, None]}, {"a": [1.5, None]}),
    ],
)
def test_other_values_of_sql_are_valid_json(value, written):
    assert json.loads(text(Format.JSON, pa.table({"value": [value]}))) == [{"value": written}]
