"""Cells beside published accuracies: what is compared, and what is said to differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.errors import StoreError
from bilin.record import LengthResult
from bilin.results import SweepWriter, compare, query
from tests.results.samples import cell, pair


def test_a_cell_has_the_published_accuracy_and_the_sizes_that_differ(store):
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(cell("full", m=5, steps=1000, hidden=64)), pair(cell("cp", rank=8, m=5))])
    (row,) = compare(store).data.to_pylist()
    assert (row["sweep"], row["tier"], row["published"]) == ("mine", "full", 1.0)
    assert row["difference"] == row["mean"] - 1.0
    assert row["differs_in"] == (
        "hidden 64 (published 256), max_steps 1000 (published 100000), schedule cosine (published constant), "
        "normalize readout (published none), stop_when_solved true (published false)"
    )


def test_a_cell_of_the_published_protocol_differs_in_nothing(store):
    published = cell("full", m=5, steps=100_000, hidden=256)
    train = replace(published.train, schedule="constant", normalize="none", stop_when_solved=False)
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(replace(published, train=train))])
    assert "differs_in" not in compare(store).data.column_names


@pytest.mark.parametrize(
    ("accuracy", "tolerance", "mark"),
    [(0.52, None, "agrees"), (0.9, None, "better"), (0.3, None, "worse"), (0.3, 0.5, "agrees")],
)
def test_a_mark_says_whether_a_cell_agrees(store, accuracy, tolerance, mark):
    half = cell("cp", rank=2, task="random_state_machine", m=25)  # published: 0.50, scaled
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(half, accuracy=accuracy)])
    table = compare(store, tolerance=tolerance)
    assert table.data["mark"].to_pylist() == [mark]
    assert table.note.startswith(f"1 row: 1 {mark} (agrees: within {tolerance or 0.02})")


def test_a_number_whose_interval_contains_the_published_one_is_unclear(store):
    half = cell("cp", rank=2, task="random_state_machine", m=25)
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(half, lengths=(LengthResult(500, 12, 20, 25),))])
    (row,) = compare(store).data.to_pylist()
    assert row["low"] < row["published"] < row["mean"] - 0.02
    assert row["mark"] == "unclear"


def test_beside_a_reference_every_published_accuracy_has_a_row(store):
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(cell("full", m=5))])
    rows = compare(store, against="bilinear_ood500").data.to_pylist()
    assert [row["mark"] for row in rows].count("not run") == len(rows) - 1 == 85
    (mine,) = [row for row in rows if row["sweep"] == "mine"]
    assert (mine["tier"], mine["m"], mine["num_seeds"]) == ("full", 5, 1)
    assert mine["low"] < mine["mean"] <= mine["high"]  # of one seed: Wilson's interval


def test_a_field_that_the_paper_states_must_be_the_same(store):
    with SweepWriter(store, "mine") as writer:
        writer.append(
            [pair(cell("block_diagonal", m=5, block_size=8)), pair(cell("block_diagonal", m=5, block_size=2))]
        )
    assert compare(store).data["block_size"].to_pylist() == [2]


def test_a_cell_of_another_length_than_the_published_one_is_named(store):
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(cell("full"), lengths=(LengthResult(100, 9, 9, 5), LengthResult(10, 9, 9, 5)))])
    assert compare(store).note == (
        "1 cell would have a published accuracy at length 500; tested: 10, 100. Add the length to `test.lengths` of "
        "the grid and launch it again"
    )


def test_a_cell_of_which_nothing_is_published_is_no_question_of_length(store):
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(cell("cp", rank=8))])
    assert compare(store).note.startswith(
        "no cell has a published accuracy of its task, tier and fields; `bilin results"
    )


@pytest.mark.parametrize("command", [["compare"], ["query", "--view", "published"], ["query", "FROM published"]])
def test_an_empty_folder_is_enough_for_what_is_published(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BILIN_STORE", raising=False)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert "published" in result.stdout or "arXiv" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_or_store_that_is_named_and_does_not_exist_is_an_error_all_the_same(tmp_path):
    with pytest.raises(StoreError):
        compare(tmp_path / "nowhere", sweep="mine")
    with pytest.raises(StoreError, match="does not exist"):
        compare(tmp_path / "nowhere")
    with pytest.raises(StoreError):
        query(store=tmp_path / "nowhere", view="published", sweep="mine")
    with pytest.raises(StoreError):
        query("FROM cells JOIN published USING (task, tier)", store=tmp_path / "nowhere")
