from __future__ import annotations

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from bilin.errors import DamageWarning
from bilin.record import LengthResult, Rung
from bilin.results import SweepWriter, WantedRow, fields_json, query
from bilin.tasks.group_word import GroupWord
from tests.results.samples import cell, failed, forget_checksums, pair, seeds


def store_of(store, pairs, wanted=()):
    with SweepWriter(store, "sweep") as writer:
        writer.append(pairs)
        if wanted:
            writer.write_wanted(wanted)
    return store


def cells(store, **question):
    return query(store=store, view="cells", where="length = 500", **question).to_pylist()


VIEWS = ("cells", "trials", "lengths", "curves")


def answers(store, **question):
    return [query(store=store, view=view, **question).to_pylist() for view in VIEWS]


def test_arrow_converts_files_of_other_types_to_what_duckdb_reads_from_the_others(filled, spare):
    for path in spare.glob("first/trials-*.parquet"):
        rows = pq.read_table(path)
        at = rows.schema.get_field_index("host")
        pq.write_table(rows.set_column(at, "host", rows["host"].cast(pa.large_string())), path)
    forget_checksums(spare / "first")
    assert answers(spare) == answers(filled)


@pytest.mark.parametrize(
    "others",
    [[pair(seed=7)], [pair(lr=1e-2)], [pair(lengths=(LengthResult(20, 9, 9, 5),))], [pair(cell(m=7))]],
    ids=["seed", "rate", "superseded", "cell"],
)
def test_views_are_the_same_with_and_without_rows_that_they_do_not_show(store, tmp_path, others):
    pairs = [*seeds(3, accuracy=0.9), *seeds(3, lr=1e-4), failed(cell("lstm"))]
    wanted = [
        WantedRow(
            cell_id=of.cell_id, lrs=(1e-3, 1e-4), seeds=(0, 1, 2), num_trials=6, test_lengths=(10, 500),
            num_sequences=2048, fields=fields_json(of),
        )
        for of in (cell(), cell("lstm"))
    ]  # fmt: skip
    store_of(store, others)
    store_of(store, pairs, wanted)
    assert answers(store) == answers(store_of(tmp_path / "other", pairs, wanted))
    everything = answers(store, everything=True)[1]
    assert len(everything) == len(pairs) + (others[0][0].trial_id not in {spec.trial_id for spec, _ in pairs})


def test_a_length_that_the_grid_does_not_want_is_hidden(store):
    wanted = WantedRow(
        cell_id=cell().cell_id, lrs=(1e-3,), seeds=(0, 1), num_trials=2, test_lengths=(500,), num_sequences=2048,
        fields=fields_json(cell()),
    )  # fmt: skip
    store_of(store, seeds(2), [wanted])
    assert set(query(store=store, view="lengths")["length"].to_pylist()) == {500}
    assert [row["length"] for row in query(store=store, view="cells").to_pylist()] == [500]
    assert set(query(store=store, view="lengths", everything=True)["length"].to_pylist()) == {10, 500}


def test_lengths_of_a_trial(store):
    tested = (LengthResult(10, 2048, 2048, 5), LengthResult(500, 1024, 2048, 5, 256, 512))
    rows = query(store=store_of(store, [pair(lengths=tested), failed(seed=1)]), view="lengths").to_pylist()
    interval = stats.binomtest(1024, 2048).proportion_ci(method="wilson")
    assert [row["length"] for row in rows] == [10, 500]
    assert rows[1] == {
        "sweep": "sweep", "trial_id": pair()[0].trial_id, "length": 500, "accuracy": 0.5, "num_sequences": 2048,
        "low": pytest.approx(interval.low), "high": pytest.approx(interval.high),
        "accuracy_scaled": pytest.approx(0.375), "low_scaled": pytest.approx((interval.low - 0.2) / 0.8),
        "high_scaled": pytest.approx((interval.high - 0.2) / 0.8), "sequence_accuracy": 0.125,
        "nonfinite": 0.25,
    }  # fmt: skip


def test_a_column_that_is_a_word_of_sql_is_written_in_quotes(store):
    of = dataclasses.replace(cell(), task=GroupWord(group="S3"))
    store_of(store, [pair(of, lengths=(LengthResult(500, 2048, 2048, 6),))])
    (row,) = query(store=store, where="\"group\" = 'S3'", select='task, "group"').to_pylist()
    assert row == {"task": "group_word", "group": "S3"}


def test_curves_of_a_trial(store):
    rows = query(store=store_of(store, [pair(curve=3)]), view="curves").to_pylist()
    assert [(row["step"], row["length"], row["loss"]) for row in rows] == [
        (0, None, 1.0),
        (250, None, 0.5),
        (500, None, 1 / 3),
    ]


def test_a_damaged_file_of_curves_stops_only_questions_about_curves(store):
    store_of(store, [pair(curve=3)])
    (path,) = store.rglob("curves-*.parquet")
    content = path.read_bytes()
    path.write_bytes(content[:-60] + bytes(52) + content[-8:])  # of the same size: its content is not looked at
    assert query(store=store, view="trials").num_rows == 1
    with pytest.warns(DamageWarning):
        assert query(store=store, view="curves").num_rows == 0


def test_a_cell_shows_the_rate_that_the_rule_selects(store):
    # the smaller rate solves both seeds; the greater has the best single test
    store_of(store, [
        pair(lr=1e-3, seed=0, accuracy=1.0), pair(lr=1e-3, seed=1, accuracy=0.6),
        pair(lr=1e-4, seed=0, lengths=(LengthResult(500, 1536, 2048, 5),)),
        pair(lr=1e-4, seed=1, lengths=(LengthResult(500, 1024, 2048, 5),)),
    ])  # fmt: skip
    (row,) = cells(store)
    low, high = stats.t.interval(0.95, 1, loc=0.53125, scale=stats.sem([0.6875, 0.375]))
    assert (row["lr"], row["num_seeds"], row["num_solved"]) == (1e-4, 2, 2)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((0.53125, low, high))
    assert row["best"] == 1.0


def test_a_rate_with_a_pruned_seed_is_selected_only_if_there_is_no_other(store):
    store_of(store, [pair(lr=1e-3, seed=0), failed(lr=1e-3, seed=1, status="pruned")])
    assert [row["lr"] for row in cells(store)] == [1e-3]
    store_of(store, [pair(lr=1e-4, seed=seed, accuracy=0.6) for seed in (0, 1)])
    assert [(row["lr"], row["num_seeds"]) for row in cells(store)] == [(1e-4, 2)]


def pruned(lr: float, accuracy: float):
    rungs = (Rung(250, accuracy, 0.1),)
    return pair(lr=lr, seed=1, accuracy=accuracy, status="pruned", stop_reason="rung", lengths=(), rungs=rungs)


def test_a_pruned_seed_counts_with_the_accuracy_of_its_rung(store):
    better = [pair(lr=1e-3, accuracy=0.5), pruned(1e-3, 0.9)]
    worse = [pair(lr=1e-4, accuracy=0.6), pruned(1e-4, 0.5)]
    assert [row["lr"] for row in cells(store_of(store, [*better, *worse]))] == [1e-3]


def test_a_pruned_seed_counts_in_the_same_way_in_a_tie(store):
    first = [pair(lr=1e-4, accuracy=0.5), pruned(1e-4, 0.5), failed(lr=1e-4, seed=2)]
    second = [pair(lr=1e-3, accuracy=0.75), pruned(1e-3, 0.25), failed(lr=1e-3, seed=2)]
    assert [row["lr"] for row in cells(store_of(store, [*first, *second]))] == [1e-4]


def test_one_seed_has_no_interval(store):
    (row,) = cells(store_of(store, [pair()]))
    assert (row["mean"], row["low"], row["high"], row["num_seeds"]) == (1.0, None, None, 1)


def test_a_test_never_selects_a_rate(store):
    better = (LengthResult(500, 2048, 2048, 5),)
    worse = (LengthResult(500, 0, 2048, 5),)
    store_of(store, [pair(lr=1e-3, accuracy=0.5, lengths=better), pair(lr=1e-4, accuracy=0.6, lengths=worse)])
    (row,) = cells(store)
    assert (row["lr"], row["mean"], row["best"]) == (1e-4, -0.25, 1.0)


def test_a_diverged_seed_is_not_among_the_tested(store):
    (row,) = cells(store_of(store, [pair(seed=0), failed(seed=1, status="diverged")]))
    assert (row["num_seeds"], row["mean"]) == (1, 1.0)


def test_a_cell_without_a_result_is_shown_where_its_lengths_are_known(store):
    of = cell()
    wanted = WantedRow(cell_id=of.cell_id, lrs=(1e-3,), seeds=(0,), num_trials=1, test_lengths=(500,), num_sequences=9)
    (row,) = cells(store_of(store, [failed(of, status="diverged")], [wanted]))
    assert (row["num_seeds"], row["mean"], row["best"], row["lr"]) == (0, None, None, 1e-3)


def test_cells_come_in_the_order_of_tasks_tiers_and_fields(store):
    models = [cell("lstm"), cell("cp", rank=256), cell("cp", rank=64), cell("full", m=10), cell("full")]
    store_of(store, [pair(of) for of in models])
    rows = [(row["m"], row["tier"], row["rank"]) for row in cells(store)]
    assert rows == [(5, "full", None), (5, "cp", 64), (5, "cp", 256), (5, "lstm", None), (10, "full", None)]


def test_fields_that_do_not_apply_are_null(store):
    (row,) = cells(store_of(store, [pair(cell("cp", rank=8))]))
    assert (row["rank"], row["block_size"], row["layers"], row["transitions"]) == (8, None, None, None)
