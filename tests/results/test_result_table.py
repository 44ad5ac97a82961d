from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bilin.errors import QueryError
from bilin.results import Format, ResultTable, encode
from bilin.results.result_table import Column, Estimate, readable

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
    return encode(ResultTable.of(table), format_).decode()


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
    assert rows[1] == '| a, "b" \\| c<br>d | nan |  | false |  | [] | 1.5 |'
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


SECTIONS = ResultTable(
    data=pa.table({"model": ["a", "b", "c"], "one, 10": [0.5, None, 1.0], "two, 10": [None, 0.25, None]}),
    columns=[
        Column(name="model", heading="model", section=None),
        Column(
            name="one, 10",
            heading="10",
            section="one",
            missing="-",
            values=[
                Estimate(value=0.5, low=0.25, high=0.75, is_symmetric=True, num_seeds=3),
                Estimate(value=None),
                Estimate(value=1.0),
            ],
        ),
        Column(name="two, 10", heading="wall_s", section="two", right_aligned=True),
    ],
    note="what the numbers are",
)
"""A table of two sections; where a value is missing, one row is not in a section, and one has nothing to show."""


def test_people_see_sections_with_the_rows_that_have_a_value_there():
    assert encode(SECTIONS, Format.TABLE).decode().splitlines() == [
        "one", "", "model  10", "-----  ---------------", "a      0.50 ± 0.25 (3)", "b      –", "c      1.00", "",  # noqa: RUF001
        "two", "", "model  wall_s", "-----  ------", "b        0.25", "",
        "what the numbers are",
    ]  # fmt: skip
    assert encode(SECTIONS, Format.MARKDOWN).decode().splitlines()[8:] == [
        "two", "", "| model | wall_s |", "| --- | ---: |", "| b | 0.25 |", "", "what the numbers are",
    ]  # fmt: skip


def test_machines_get_the_exact_values_in_one_table():
    assert json.loads(encode(SECTIONS, Format.JSON)) == SECTIONS.data.to_pylist()
    assert encode(SECTIONS, Format.CSV).decode().splitlines()[0] == 'model,"one, 10","two, 10"'


@pytest.mark.parametrize(
    ("accuracy", "written"),
    [(1.0, "1.00"), (0.9999, "0.99"), (0.004, "0.00"), (-0.004, "0.00"), (-0.25, "-0.25"), (None, "–")],  # noqa: RUF001
)
def test_only_an_accuracy_of_one_is_written_as_one(accuracy, written):
    assert str(Estimate(value=accuracy)) == written


def test_an_interval_is_shown_by_its_ends_if_the_number_need_not_be_in_the_middle():
    assert str(Estimate(value=0.28, low=-0.44, high=1.0)) == "0.28 [-0.44, 1.00]"
    assert str(Estimate(value=0.28, low=-0.44, high=1.0, is_symmetric=True)) == "0.28 ± 0.72"


def test_an_interval_is_a_text_and_no_column_of_parquet():
    took = pa.table({"took": pa.array([pa.MonthDayNano([2, 1, 3 * 10**9]), None])})
    assert [readable(value.as_py()) for value in took["took"]] == ["2 months 1 day 0:00:03", ""]
    assert encode(ResultTable.of(took), Format.CSV) == b'took\n2 months 1 day 0:00:03\n""\n'
    with pytest.raises(QueryError, match="the column took of type month_day_nano_interval"):
        encode(ResultTable.of(took), Format.PARQUET)


def test_parquet_comes_back_as_it_was():
    again = pq.read_table(io.BytesIO(encode(ResultTable.of(TABLE), Format.PARQUET)))
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
