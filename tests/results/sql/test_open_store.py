"""Several questions to a store are answered as it was at one moment, and each cell selects one point."""

from __future__ import annotations

import pytest

from bilin.results import SweepWriter, WantedRow, at_one_moment, fields_json, query
from tests.results.samples import cell, failed, pair


def count(store, **question):
    return query("SELECT count(*) AS n FROM trials", store=store, **question)["n"][0].as_py()


def test_questions_of_one_moment_agree_while_trials_are_stored(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append([pair()])

        def ask(opened):
            before = count(opened)
            writer.append([pair(seed=1)])
            return before, query(store=opened, view="cells")["num_seeds"].to_pylist(), count(opened)

        assert at_one_moment(store, ask) == (1, [1, 1], 1)
    assert count(store) == 2


def test_questions_are_put_again_if_a_file_is_merged_meanwhile(store):
    for seed in (0, 1):
        with SweepWriter(store, "sweep") as writer:
            writer.append([pair(seed=seed)])
    calls = []

    def ask(opened):
        calls.append(count(opened))
        if len(calls) == 1:
            with SweepWriter(store, "sweep") as writer:
                writer.append([pair(seed=2)])
                writer.compact()
        return query(store=opened, view="trials")["seed"].to_pylist()

    assert at_one_moment(store, ask) == [0, 1, 2]
    assert calls == [2, 3]


def test_one_moment_may_be_of_some_sweeps_and_of_all_rows(filled):
    def ask(opened):
        return count(opened), count(opened, everything=True), count(opened, sweep="second")

    assert at_one_moment(filled, ask) == (14, 14, 2)
    assert at_one_moment(filled, lambda opened: count(opened), sweeps=["second"]) == 2


@pytest.mark.parametrize("sort", [None, "seed"])
def test_a_limit_holds_where_a_cell_selects_nothing(store, sort):
    of = cell(m=2)
    with SweepWriter(store, "sweep") as writer:
        writer.append([pair(), *(failed(of, seed=seed) for seed in range(3))])
    rows = query(store=store, view="trials", where=f"cell_id = '{of.cell_id}'", sort=sort, limit=1)
    assert rows["selected"].to_pylist() == [False]


def test_the_smaller_of_equal_rates_is_selected(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append([pair(lr=lr, accuracy=0.7, training_loss=0.5) for lr in (1e-2, 1e-4, 1e-3)])
    assert set(query(store=store, view="cells")["lr"].to_pylist()) == {1e-4}
    assert query(store=store, view="trials", where="selected")["lr"].to_pylist() == [1e-4]


def test_a_cell_has_the_same_columns_with_and_without_its_grid(tmp_path):
    rows = []
    for name, fields in (("with", fields_json), ("without", lambda _: None)):
        with SweepWriter(tmp_path / name, "sweep") as writer:
            cells = [cell("cp", rank=8), cell("lstm", m=3)]
            writer.append([pair(of) for of in cells])
            writer.write_wanted([
                WantedRow(
                    cell_id=of.cell_id, lrs=(1e-3,), seeds=(0,), num_trials=1, test_lengths=(10, 500),
                    num_sequences=9, fields=fields(of),
                )
                for of in cells
            ])  # fmt: skip
        rows.append(query(store=tmp_path / name, view="cells").to_pylist())
    assert rows[0] == rows[1]
    assert len(rows[0]) == 4
