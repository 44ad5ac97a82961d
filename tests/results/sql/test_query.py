from __future__ import annotations

import pyarrow as pa
import pytest

from bilin.errors import QueryError, StoreError
from bilin.results import SweepWriter, query
from bilin.results.published import published
from bilin.results.sql.views import VIEWS
from tests.results.samples import seeds


def test_without_a_question_the_cells_with_what_varies(filled):
    table = query(store=filled)
    assert table.column_names == [
        "sweep", "task", "m", "tier", "rank", "length", "lr", "num_seeds", "num_solved", "mean", "min", "max", "best",
    ]  # fmt: skip
    assert [(row["m"], row["tier"], row["length"]) for row in table.to_pylist()][:3] == [
        (2, "lstm", 10),
        (2, "lstm", 500),
        (5, "full", 10),
    ]


def test_one_sweep_alone(filled):
    assert set(query(store=filled, view="trials", sweep="second")["tier"].to_pylist()) == {"lstm"}
    assert "sweep" not in query(store=filled, sweep="second").column_names


def test_where_select_sort_and_limit(filled):
    table = query(store=filled, view="trials", where="tier = 'cp'", select="lr, seed", sort="lr, seed DESC", limit=3)
    assert table.to_pylist() == [{"lr": 1e-4, "seed": 1}, {"lr": 1e-4, "seed": 0}, {"lr": 1e-3, "seed": 1}]


def test_sql_over_all_views(filled):
    table = query(
        "SELECT t.tier, count(DISTINCT length) AS lengths, count(*) AS points FROM trials t "
        "JOIN lengths USING (sweep, trial_id) JOIN (SELECT DISTINCT trial_id FROM curves) USING (trial_id) "
        "WHERE t.sweep = 'first' GROUP BY tier ORDER BY tier",
        store=filled,
    )
    assert table["points"].to_pylist() == [8, 8, 8]
    assert query("SELECT count(*) AS n FROM cells", store=filled).to_pylist() == [{"n": 8}]


def test_where_and_limit_narrow_the_rows_of_sql(filled):
    assert query("SELECT tier, lr FROM trials", store=filled, where="lr < 1e-3", sort="tier", limit=1).to_pylist() == [
        {"tier": "cp", "lr": 1e-4}
    ]


@pytest.mark.parametrize("view", VIEWS)
def test_views_of_an_empty_store_have_all_their_columns(filled, tmp_path, view):
    with SweepWriter(tmp_path / "empty", "sweep"):
        pass
    empty = query(store=tmp_path / "empty", view=view)
    assert empty.num_rows == (published().num_rows if view == "published" else 0)
    assert empty.schema == query(store=filled, view=view).schema


@pytest.mark.parametrize(
    "question",
    [
        {"where": "group = 'A5'"},
        {"select": "group, task"},
        {"sql": "SELECT group FROM trials"},
        {"sql": "SELECT count(*) FROM trials GROUP BY group"},
    ],
)
def test_the_column_that_is_a_word_of_sql_is_said_to_need_quotes(filled, question):
    with pytest.raises(QueryError, match='write the column group in double quotes: "group"'):
        query(store=filled, **question)


@pytest.mark.parametrize("sql", ["SELECT tier FROM trials GROUP BY BY", 'SELECT "group" FROM trials x y'])
def test_other_faults_of_syntax_say_nothing_of_it(filled, sql):
    with pytest.raises(QueryError, match=r"syntax error at or near \"\w+\"\s+LINE 1: [^\n]+\s+\^+$"):
        query(sql, store=filled)


def test_a_store_without_sweeps_is_empty(tmp_path):
    assert query(store=tmp_path).num_rows == 0


def test_what_is_not_there_is_said(tmp_path, filled):
    with pytest.raises(StoreError, match="nowhere does not exist"):
        query(store=tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"no sweep 'third' in the store .*; sweeps in it: first, second"):
        query(store=filled, sweep="third")
    with pytest.raises(StoreError, match="not the name of a sweep"):
        query(store=filled, sweep="../first")


def test_times_are_utc_without_zone(filled):
    table = query("SELECT started_at, finished_at - started_at AS took FROM trials LIMIT 1", store=filled)
    assert table.schema.field("started_at").type == pa.timestamp("us")
    assert query(store=filled, view="trials", where="started_at > now() + INTERVAL 1000 YEAR").num_rows == 0


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            {"sql": "SELECT rnk FROM trials"},
            "no column 'rnk' in trials (did you mean rank?)\ntrials: sweep, trial_id",
        ),
        ({"sql": "SELECT t.rnk FROM trials t"}, "no column 'rnk' in trials (did you mean rank?)"),
        (
            {"where": "tier = full"},
            "found where: tier = full (syntax error at its end); accepted: one condition in SQL, for example "
            "tier = 'cp' AND m > 3; write text in single quotes: 'full'",
        ),
        ({"where": "lr = 1 LIMIT 2"}, 'found where: lr = 1 LIMIT 2 (syntax error at or near "LIMIT"); accepted: one'),
        ({"where": "m = 2) OR (1 = 1"}, 'found where: m = 2) OR (1 = 1 (syntax error at or near ")"); accepted: one'),
        ({"where": ""}, "the where is empty; accepted: SQL, or no where"),
        ({"where": 'tier = "full"'}, "no column 'full' in cells (write text in single quotes: 'full')"),
        ({"where": "rnk = 1"}, "no column 'rnk' in cells"),
        ({"sort": "rnk"}, "no column 'rnk' in cells"),
        ({"select": "rnk"}, "no column 'rnk' in cells"),
        ({"where": "status = 'failed'"}, "no column 'status' in cells; it is a column of trials"),
        ({"sql": "SELECT m FROM lengths"}, "no column 'm' in lengths; it is a column of cells, trials"),
        ({"sql": "SELECT * FROM trial"}, "no view 'trial' (did you mean trials?); accepted: cells, trials"),
        (
            {"view": "tables"},
            "no view 'tables' (did you mean trials?); accepted: cells, trials, lengths, curves, published",
        ),
        ({"sql": "SELEC 1"}, "syntax error"),
        ({"sql": ""}, "exactly one SELECT; found: nothing"),
        ({"sql": "SELECT 1; SELECT 2"}, "exactly one SELECT; found: SELECT, SELECT"),
        ({"sql": "PIVOT cells ON length USING max(mean) GROUP BY tier"}, "results table --by length"),
        ({"sql": "SELECT lr FROM trials WHERE lr = $1"}, "parameter"),
        ({"limit": -1}, "limit of -1"),
        ({"limit": 2**63}, "limit of 9223372036854775808"),
        ({"sort": " "}, "the sort is empty"),
        ({"where": "lr ="}, "syntax error"),
        ({"where": "\udcff"}, "the where is not UTF-8"),
        ({"sql": "SELECT '\udcff'"}, "the query is not UTF-8"),
    ],
)
def test_a_wrong_question_gets_one_clear_message(filled, question, message):
    with pytest.raises(QueryError) as raised:
        query(store=filled, **question)
    assert message in str(raised.value)


def test_sweeps_are_counted_apart(store):
    for sweep in ("one", "two"):
        with SweepWriter(store, sweep) as writer:
            writer.append(seeds(2))
    assert query("SELECT sweep, count(*) AS n FROM trials GROUP BY sweep ORDER BY sweep", store=store).to_pylist() == [
        {"sweep": "one", "n": 2},
        {"sweep": "two", "n": 2},
    ]


def test_a_store_in_a_folder_with_strange_characters(tmp_path):
    stores = {tmp_path / name: number for number, name in enumerate(["a 'b' [c]*?", "a 'b' c--"], start=1)}
    for store, number in stores.items():  # the second matches the first as a pattern
        with SweepWriter(store, "sweep") as writer:
            writer.append(seeds(number))
    for store, number in stores.items():
        assert query(store=store, view="trials").num_rows == number


def test_columns_of_one_name_are_told_apart(filled):
    assert query("SELECT m, m, lr FROM trials LIMIT 1", store=filled).column_names == ["m", "m_2", "lr"]
    assert query("SELECT m, m, 1 AS m_2, 1 AS M_3, m FROM trials", store=filled).column_names == [
        "m", "m_4", "m_2", "M_3", "m_5",
    ]  # fmt: skip


def test_the_views_are_listed(filled):
    assert {"cells", "trials", "lengths", "curves"} <= set(query("SHOW TABLES", store=filled)["name"].to_pylist())
