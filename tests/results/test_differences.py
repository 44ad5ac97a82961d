"""Two sweeps cell by cell."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from scipy import stats
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.errors import QueryError
from bilin.record import LengthResult
from bilin.results import SweepWriter, compare
from bilin.results.statistics import difference
from tests.results.samples import cell, failed, pair
from tests.results.test_pivot import lines, scored


@pytest.fixture
def two(store):
    """Two sweeps that differ in their steps; one cell is the same, one clearly lower, and one in the first alone."""
    models = {"full": (1.0, 1.0), "lstm": (0.8, 0.82), "rotation": (0.5, 0.7)}
    with SweepWriter(store, "new") as writer:
        for tier, scores in models.items():
            writer.append(scored(cell(tier, m=2, steps=1000), *scores))
    with SweepWriter(store, "old") as writer:
        writer.append(scored(cell("full", m=2, steps=500), 1.0, 1.0))
        writer.append(scored(cell("lstm", m=2, steps=500), 0.9, 0.92))
    return store


def test_cells_are_compared_but_for_fields_in_which_the_sweeps_differ(two):
    shown = compare(two, sweep="new", against="old")
    assert [line.split()[-3:] for line in lines(shown)[2:5]] == [
        ["±", "0.00", "same"],
        ["only", "in", "new"],
        ["±", "0.06", "lower"],
    ]
    assert lines(shown)[0].split() == ["task", "m", "tier", "length", "new", "old", "difference", "change"]
    assert shown.note.splitlines()[1:] == [
        "within 0: 1 of 3 rows, 1 only in new, 1 lower",
        "the sweeps differ in max_steps (1000 and 500)",
    ]


def test_a_field_that_some_cells_search_is_a_text(store):
    for name in ("one", "other"):
        with SweepWriter(store, name) as writer:
            searching = dataclasses.replace(cell("cp", rank=64), searched=("rank",))
            writer.append([pair(cell("cp", rank=8)), pair(searching)])
    shown = compare(store, sweep="one", against="other")
    assert shown.data["rank"].to_pylist() == ["8", "8", "searched", "searched"]


def test_a_tolerance_makes_accuracies_the_same(two):
    changes = compare(two, sweep="new", against="old", tolerance=0.2).data["change"].to_pylist()
    assert sorted(changes) == ["only in new", "same", "same"]


def test_a_difference_whose_interval_contains_none_is_unclear(store):
    for name, scores in (("one", (0.2, 0.8)), ("other", (0.3, 0.5))):
        with SweepWriter(store, name) as writer:
            writer.append([*scored(cell(m=2), *scores), *([failed(cell("lstm", m=2))] if name == "one" else [])])
    (row,) = compare(store, sweep="one", against="other").data.to_pylist()
    assert (row["change"], row["difference"]) == ("unclear", pytest.approx(0.1))


def test_the_interval_is_that_of_welch():
    one, other = (0.1, 0.5, 0.6), (0.2, 0.3)
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert difference(one, other)[1:] == pytest.approx((expected.low, expected.high))
    assert difference((1.0,), (0.5, 0.6)).low is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"sweep": "new", "against": "older"},
            r"no sweep or paper 'older' \(did you mean old\?\); accepted: the sweeps new, old; a part of the ",
        ),
        ({"against": "old"}, "name two sweeps to compare: old and another"),
        ({"sweep": "old", "against": "old"}, "name two sweeps to compare"),
        ({"sweep": "new", "against": "old", "tolerance": -1.0}, "found a tolerance of -1.0"),
    ],
)
def test_what_cannot_be_compared_is_said(two, arguments, message):
    with pytest.raises(QueryError, match=message):
        compare(two, **arguments)


def test_sweeps_without_a_common_cell_say_what_they_have_apart(store):
    for sweep, rank, length in (("one", 4, 10), ("other", 8, 100)):
        task: Any = cell().task
        with SweepWriter(store, sweep) as writer:
            of = cell("cp", rank=rank, m=5 if sweep == "one" else 7)
            writer.append([pair(of, lengths=(LengthResult(length, 9, 9, task.num_classes),))])
            writer.append([pair(of, seed=1, lengths=(LengthResult(length, 9, 9, task.num_classes),))])
    last = compare(store, sweep="one", against="other").note.splitlines()[-2:]
    assert last == [
        "the sweeps differ in m (5 and 7), rank (4 and 8)",
        "no cell at any length is in both sweeps: they differ in length (10 and 100)",
    ]


def test_values_that_differ_after_the_digits_that_are_shown_are_not_the_same(store):
    for sweep, scale in (("one", 0.1), ("other", 0.1000001)):
        with SweepWriter(store, sweep) as writer:
            writer.append([pair(cell(init_scale=scale))])
    shown = compare(store, sweep="one", against="other")
    assert shown.data.num_rows == 2, "two lengths, each in both sweeps"
    assert shown.note.splitlines()[-1] == "the sweeps differ in init_scale (0.1 and 0.1000001)"


def test_a_sweep_is_compared_with_one_published_table(store):
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(cell("full", m=2))])
    assert compare(store, sweep="mine", against="2505.21749").data.num_rows == 1
    assert compare(store, sweep="mine", against="2503").data.num_rows == 0


def test_the_command_takes_two_names(two):
    def bilin(*arguments):
        return CliRunner().invoke(app, ["compare", *arguments, "--store", str(two)])

    assert bilin("new", "old").stdout.splitlines()[0].split()[-4:] == ["new", "old", "difference", "change"]
    assert bilin("new", "--sweep", "old").exit_code != 0
