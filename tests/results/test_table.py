from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bilin.errors import QueryError
from bilin.record import LengthResult
from bilin.results import SweepWriter, WantedRow, fields_json, table
from bilin.spec import TrainSpec, ValidateSpec
from tests.results.samples import cell, failed, pair


def store_of(store, pairs, sweep="sweep"):
    with SweepWriter(store, sweep) as writer:
        writer.append(pairs)
    return store


def models(shown):
    return shown.data["model"].to_pylist()


def texts(shown):
    """The sections by their titles, each row as people see it."""
    return {
        section.title: [
            {column.heading: column.text(value) for column, value in zip(section.columns, row, strict=True)}
            for row in section.rows
        ]
        for section in shown.sections()
    }


def test_models_stand_against_tasks(store):
    cells = [cell("lstm"), cell("cp", rank=64), cell("cp", rank=8), cell("full"), cell("full", m=2)]
    numbers = table(store_of(store, [pair(of) for of in cells])).data
    assert [name for name in numbers.column_names if name.count(",") < 2] == [
        "model",
        "modular_addition m=2, length 500",
        "modular_addition m=5, length 500",
    ]
    assert numbers["model"].to_pylist() == ["full", "cp rank=8", "cp rank=64", "lstm"]
    assert numbers["modular_addition m=2, length 500"].to_pylist() == [1.0, None, None, None]


def test_texts_for_people_are_rounded_and_short(store):
    pairs = [pair(cell("full"), seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.9, 0.95))]
    pairs += [failed(cell("rotation"), status="diverged")]
    shown = table(store_of(store, [*pairs, pair(cell("full", m=2), accuracy=0.4995)]))
    assert texts(shown) == {
        "modular_addition, length 500": [{"model": "full", "m=2": "0.00 (1)", "m=5": "0.91 [0.87, 0.94] (2)"}]
    }
    assert shown.note.endswith(
        "; in brackets the lowest and highest of the seeds, whose number is in parentheses (mean-range)"
    )


def test_a_cell_that_has_not_run_has_a_row_with_a_dash(store):
    ran, waiting = cell("full"), cell("lstm", m=2)
    with SweepWriter(store_of(store, [pair(ran)]), "sweep") as writer:
        wanted: Any = {"lrs": (1e-3,), "seeds": (0,), "num_trials": 1, "test_lengths": (500,), "num_sequences": 2048}
        cells = [WantedRow(cell_id=of.cell_id, fields=fields_json(of), **wanted) for of in (ran, waiting)]
        writer.write_wanted(cells)
    rows = {"model": "full", "m=2": "–", "m=5": "1.00"}, {"model": "lstm", "m=2": "–", "m=5": "–"}  # noqa: RUF001
    assert texts(table(store)) == {"modular_addition, length 500": [*rows]}
    numbers = table(store, rows=["tier"], cols=["m"], show=["lr"]).data.to_pylist()
    assert (numbers[1]["tier"], numbers[1]["m=2"], numbers[1]["m=2, lr"]) == ("lstm", None, None)


def at(*lengths, of):
    return pair(of, lengths=tuple(LengthResult(length, 2000, 2000, 2) for length in lengths))


def test_each_variant_of_a_task_is_shown_at_its_own_longest_length(store):
    store_of(store, [at(10, 500, of=cell(m=2)), at(10, 100, of=cell(m=3))])
    shown = table(store)
    assert [section.title for section in shown.sections()] == [
        "modular_addition, length 500", "modular_addition, length 100",
    ]  # fmt: skip
    assert "left out" not in shown.note


def test_cells_not_tested_at_the_length_are_counted(store):
    store_of(store, [at(10, 500, of=cell(m=2)), at(10, of=cell("lstm", m=2)), at(500, of=cell("rotation", m=2))])
    assert models(shown := table(store)) == ["full", "rotation"]
    assert shown.note.splitlines()[1] == "left out: 1 cell not tested at the length shown; all were at length 10"
    assert (
        table(store, length=10).note.splitlines()[1].endswith("not tested at the length shown; all were at length 500")
    )
    assert "left out" not in table(store, by="length").note


def test_lengths_are_in_order_within_each_task(store):
    store_of(store, [at(500, of=cell(m=2)), at(10, 100, of=cell("lstm", m=2)), at(20, of=cell(m=3))])
    shown = table(store, by="length")
    headings = [[column.heading for column in section.columns[1:]] for section in shown.sections()]
    assert headings == [["10", "100", "500"], ["20"]]


@pytest.mark.parametrize(
    ("stat", "text", "note"),
    [
        ("mean-range", "0.85 [0.80, 0.90]", "mean accuracy at … in brackets the lowest and highest of 2 seeds"),
        ("mean-ci", "0.85 ± 0.64", "mean accuracy at … ± half the 95 % t interval of 2 seeds"),
        ("mean-se", "0.85 ± 0.05", "mean accuracy at … ± the standard error of 2 seeds"),
        ("mean-std", "0.85 ± 0.07", "mean accuracy at … ± the standard deviation of 2 seeds"),
        ("median-mad", "0.85 ± 0.05", "median accuracy at … ± the median absolute deviation of 2 seeds"),
        ("best", "0.90", "best accuracy at … the best of 2 seeds"),
    ],
)
def test_the_statistic_over_the_seeds_can_be_chosen_and_the_note_names_it(store, stat, text, note):
    lengths = [(LengthResult(500, correct, 2000, 2),) for correct in (1800, 1900)]
    shown = table(
        store_of(store, [pair(cell(m=2), seed=seed, lengths=each) for seed, each in enumerate(lengths)]), stat=stat
    )
    assert texts(shown) == {"modular_addition, length 500": [{"model": "full", "m=2": text}]}
    middle = " the selected learning rate, scaled so that chance is 0; "
    assert shown.note == f"{note.replace(' … ', middle)} ({stat})"


def test_machines_get_interval_and_seeds_in_columns_of_their_own(store):
    lengths = [(LengthResult(500, correct, 2000, 2),) for correct in (1800, 1900)]
    store_of(store, [pair(cell(m=2), seed=seed, lengths=each) for seed, each in zip((3, 7), lengths, strict=True)])
    shown = table(store)
    name = "modular_addition m=2, length 500"
    assert shown.data.to_pylist() == [
        {
            "model": "full",
            name: pytest.approx(0.85),
            f"{name}, low": 0.8,
            f"{name}, high": pytest.approx(0.9),
            f"{name}, num_seeds": 2,
            f"{name}, seeds": [3, 7],
            f"{name}, mixed": None,
        }
    ]
    assert [column.name for column in shown.columns] == ["model", name]


def test_the_greatest_tested_length_of_each_task_is_shown(store):
    long = (LengthResult(500, 1024, 2048, 2), LengthResult(1000, 2048, 2048, 2))
    store_of(store, [pair(cell(m=2), lengths=long), pair(cell(m=2, task="modular_arithmetic"), accuracy=0.75)])
    shown = table(store)
    (row,) = shown.data.to_pylist()
    assert row["modular_addition m=2, length 1000"] == 1.0
    assert row["modular_arithmetic m=2, length 500"] == 0.5
    at_500 = table(store, length=500)
    assert at_500.data["modular_addition m=2, length 500"].to_pylist() == [0.0]
    assert list(texts(at_500)) == ["modular_addition, length 500", "modular_arithmetic, length 500"]


def test_by_length_each_task_has_a_table_of_its_lengths(store):
    both = (LengthResult(10, 2048, 2048, 2), LengthResult(500, 1024, 2048, 2))
    store_of(store, [pair(cell(m=2), lengths=both), pair(cell("lstm"))])
    shown = table(store, by="length")
    assert texts(shown) == {
        "modular_addition m=2": [{"model": "full", "10": "1.00", "500": "0.00"}],
        "modular_addition m=5": [{"model": "lstm", "10": "1.00", "500": "1.00"}],
    }
    assert [column.name for column in table(store, by="length", length=10).columns[1:]] == [
        "modular_addition m=2, length 10",
        "modular_addition m=5, length 10",
    ]


def test_other_values_can_be_shown(store):
    store_of(store, [pair(lr=3e-4), pair(cell("lstm"), lr=1e-3)])
    assert table(store, value="lr").data["modular_addition m=5, length 500"].to_pylist() == [3e-4, 1e-3]
    assert table(store, value="num_solved").data["modular_addition m=5, length 500"].to_pylist() == [1, 1]


def test_what_varies_tells_models_apart(store):
    pairs = [pair(cell(hidden=64)), pair(cell(hidden=128)), pair(cell(hidden=64, steps=9))]
    assert models(table(store_of(store, pairs))) == [
        "full hidden=64 max_steps=9",
        "full hidden=64 max_steps=500",
        "full hidden=128 max_steps=500",
    ]


def test_labels_have_exact_values_where_rounded_ones_are_equal_and_leave_out_null(store):
    decays = [0.0, 0.1234567, 0.1234568]
    of = [dataclasses.replace(cell(), train=TrainSpec(optimizer="adamw", weight_decay=decay)) for decay in decays]
    shown = table(store_of(store, [pair(each) for each in of]))
    assert models(shown) == [
        "full weight_decay=0",
        "full weight_decay=0.1234567 weight_decay_on=weights",
        "full weight_decay=0.1234568 weight_decay_on=weights",
    ]


def test_training_that_differs_from_task_to_task_alone_is_not_in_the_label(store):
    shown = table(store_of(store, [pair(cell(m=2, steps=9)), pair(cell(m=5, steps=500))]))
    assert texts(shown) == {"modular_addition, length 500": [{"model": "full", "m=2": "1.00", "m=5": "1.00"}]}


def test_cells_that_differ_in_their_validation_never_share_a_row(store):
    of = [cell(m=m) for m in (2, 5)]
    others = [dataclasses.replace(each, validate=ValidateSpec(every=7)) for each in of]
    numbers = table(store_of(store, [pair(each) for each in [*of, *others]])).data
    assert sorted(numbers["model"].to_pylist()) == sorted(f"full {each.cell_id}" for each in [*of, *others])
    means = [name for name in numbers.column_names if name.endswith("length 500")]
    assert all(sum(row[name] is not None for name in means) == 1 for row in numbers.to_pylist())


def test_sweeps_are_shown_apart(store):
    store_of(store, [pair()], "one")
    store_of(store, [pair()], "two")
    assert models(table(store)) == ["full sweep=one", "full sweep=two"]
    assert models(table(store, sweep="one")) == ["full"]


def test_an_empty_store_has_an_empty_table(store):
    shown = table(store_of(store, []))
    assert shown.data.column_names == ["model"]
    assert (texts(shown), shown.note) == ({}, "nothing is stored yet")


def test_what_is_not_there_is_said(store):
    store_of(store, [pair()])
    with pytest.raises(QueryError, match="no trial was tested at length 7; tested: 10, 500"):
        table(store, length=7)
    with pytest.raises(QueryError, match=r"no value 'median' \(did you mean mean\?\); accepted: mean, low"):
        table(store, value="median")
    with pytest.raises(QueryError, match="no statistic 'mode'; accepted: mean-range, mean-se"):
        table(store, stat="mode")
    with pytest.raises(QueryError, match="the value 'lr' has no statistic; values that have one: mean, low, high"):
        table(store, value="lr", stat="mean-ci")
    with pytest.raises(QueryError, match="no kind of column 'tier'; accepted: task, length"):
        table(store, by="tier")
