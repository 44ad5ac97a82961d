"""Every column of every view has a type and a meaning."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.errors import QueryError
from bilin.fields import fields_of
from bilin.models import tier_settings
from bilin.results import explain, query
from bilin.results.sql.views import VIEWS


def test_every_column_of_every_view_has_a_meaning(filled):
    rows = explain(store=filled).data.to_pylist()
    assert [(row["view"], row["column"]) for row in rows] == [
        (view, name) for view in VIEWS for name in query(store=filled, view=view).column_names
    ]
    assert [row["column"] for row in rows if not row["meaning"]] == []


@pytest.mark.parametrize(
    ("view", "column", "type_", "unit", "meaning"),
    [
        ("trials", "wall_s", "float", "s", "time of the trial on its worker"),
        ("trials", "rank", "integer", "", ""),
        ("cells", "low", "float", "scaled", "lower end of the 95 % t interval"),
        ("lengths", "low", "float", "share", "lower end of the 95 % Wilson interval"),
        ("cells", "scores", "float[]", "scaled", "the scaled accuracy of each"),
        ("trials", "started_at", "timestamp", "UTC", "when the trial started"),
        ("cells", "max_steps", "integer", "steps", ""),
    ],
)
def test_a_column_has_its_type_unit_and_meaning(filled, view, column, type_, unit, meaning):
    (row,) = [row for row in explain(view, store=filled).data.to_pylist() if row["column"] == column]
    assert (row["type"], row["unit"]) == (type_, unit)
    assert row["meaning"].startswith(meaning)


def test_a_field_that_means_several_things_has_their_tiers(filled):
    rows = {row["column"]: row["meaning"] for row in explain("cells", store=filled).data.to_pylist()}
    parts = dict(part.split(": ", 1) for part in rows["heads"].split(" | "))
    assert parts["mlstm"] == dict(fields_of(tier_settings("mlstm")))["heads"].doc
    assert parts["slstm"] == dict(fields_of(tier_settings("slstm")))["heads"].doc
    assert rows["householders"] == dict(fields_of(tier_settings("deltaproduct")))["householders"].doc


def test_a_view_that_does_not_exist_is_an_error(filled):
    with pytest.raises(QueryError, match="no view 'cell'"):
        explain("cell", store=filled)


def test_the_command_lists_them(filled):
    result = CliRunner().invoke(app, ["query", "--explain", "--view", "curves", "--store", str(filled)])
    assert result.stdout.splitlines()[0].split() == ["view", "column", "type", "unit", "meaning"]
    assert len(result.stdout.splitlines()) == 2 + 6
