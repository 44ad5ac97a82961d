"""A query reads the views and nothing else, whatever it asks."""

from __future__ import annotations

import pytest

from bilin.errors import QueryError
from bilin.results import query

SECRET = "a secret outside the store"

STATEMENTS = [
    "COPY (SELECT 1) TO '{out}'",
    "COPY trials TO '{out}' (FORMAT parquet)",
    "ATTACH '{out}' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "SET lock_configuration = false",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "CALL pragma_version()",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW trials AS SELECT 1",
    "INSERT INTO _live SELECT * FROM _live",
    "DELETE FROM _live",
    "DROP TABLE _live",
    "EXPORT DATABASE '{out}'",
    "BEGIN",
    "COMMIT",
    "CHECKPOINT",
    "USE memory",
    "EXPLAIN SELECT 1",
    "PREPARE p AS SELECT 1",
    "SELECT 1; COPY (SELECT 1) TO '{out}'",
    "/* SELECT */ COPY (SELECT 1) TO '{out}'",
]

SELECTS = [
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{link}')",
    "SELECT * FROM read_text('{store}/../../{folder}/secret.csv')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_parquet('{secret}')",
    "SELECT * FROM read_parquet('{store}/*/trials-00000001.parquet')",
    "SELECT * FROM read_text('{store}/first/manifest.json')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "SELECT * FROM query_table('{secret}')",
    "SELECT * FROM parquet_metadata('{store}/first/wanted.parquet')",
    "SELECT * FROM read_csv('https://example.org/data.csv')",
    "SELECT * FROM trials WHERE (SELECT count(*) FROM read_text('{secret}')) > 0",
    "WITH t AS (SELECT * FROM read_text('{secret}')) SELECT * FROM t",
    "SELECT * FROM secret_variable",
    "SELECT * FROM SECRET",
    "SELECT getenv('HOME')",
    "SELECT * FROM enable_logging(storage = 'file', storage_path = '{out}')",
    "WITH gone AS (DELETE FROM _live RETURNING *) SELECT * FROM gone",
    "WITH more AS (INSERT INTO _live SELECT * FROM _live RETURNING *) SELECT * FROM more",
]

SMUGGLED = [
    "true; COPY (SELECT 1) TO '{out}'",
    "true) OR (true",
    "true UNION SELECT * FROM cells",
    "true LIMIT 1",
    "true ORDER BY m",
    "true FROM trials",
    "m IN (SELECT length(content) FROM read_text('{secret}'))",
    "",
]


@pytest.fixture
def places(filled, tmp_path):
    (tmp_path / "secret.csv").write_text(SECRET)
    (tmp_path / "link.csv").symlink_to(tmp_path / "secret.csv")
    before = sorted(tmp_path.rglob("*"))
    yield {
        "secret": tmp_path / "secret.csv", "link": tmp_path / "link.csv", "store": filled, "folder": tmp_path,
        "out": tmp_path / "out.parquet",
    }  # fmt: skip
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("sql", STATEMENTS)
def test_only_one_select_is_taken(filled, places, sql):
    with pytest.raises(QueryError, match="exactly one SELECT"):
        query(sql.format(**places), store=filled)


@pytest.mark.parametrize("sql", SELECTS)
def test_a_select_reaches_nothing_outside(filled, places, sql):
    secret_variable = query(store=filled)  # noqa: F841 (no query may find it)
    with pytest.raises(QueryError) as raised:
        query(sql.format(**places), store=filled)
    assert SECRET not in str(raised.value)


def test_a_select_opens_the_part_files_of_the_sweeps_that_it_is_about_alone(filled):
    sql = f"SELECT count(*) AS n FROM read_parquet('{filled}/second/trials-00000001.parquet')"
    assert query(sql, store=filled).to_pylist() == [{"n": 2}]
    with pytest.raises(QueryError, match="no other file"):
        query(sql, store=filled, sweep="first")


@pytest.mark.parametrize("text", SMUGGLED)
@pytest.mark.parametrize("flag", ["where", "sort", "select"])
def test_flags_take_expressions_alone(filled, places, flag, text):
    with pytest.raises(QueryError):
        query(store=filled, **{flag: text.format(**places)})


def test_conditions_may_look_at_the_views(filled):
    assert query(store=filled, view="trials", where="lr = (SELECT max(lr) FROM trials) -- the greatest").num_rows == 8
