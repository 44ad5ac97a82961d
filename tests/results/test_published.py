"""The published accuracies, as they are shipped."""

from __future__ import annotations

from collections import Counter

from bilin.results import SweepWriter, query
from bilin.results.published import COLUMNS, SOURCES, published
from tests.results.samples import cell, pair


def test_every_file_is_read_with_its_source():
    table = published()
    assert table.schema == COLUMNS
    assert Counter(table["source"].to_pylist()) == {"arXiv 2505.21749": 86, "arXiv 2503.10799, table 4": 7}
    assert set(SOURCES.values()) == set(table["source"].to_pylist())


def test_some_numbers_are_those_of_the_tables():
    rows = published().to_pylist()
    (rotation,) = [row for row in rows if (row["tier"], row["m"]) == ("rotation", 10)]
    assert (rotation["task"], rotation["length"], rotation["accuracy_scaled"]) == ("modular_addition", 500, 0.66)
    (fp,) = [row for row in rows if row["tier"] == "fp_mamba"]
    assert (fp["mixer"], fp["mixer_rank"], fp["layers"], fp["accuracy_scaled"]) == ("householder", 4, 2, 0.384)
    assert (fp["hidden"], fp["max_steps"], rotation["hidden"], rotation["max_steps"]) == (128, 100_000, 256, 100_000)
    assert {row["tier"] for row in rows if row["length"] == 500 and row["hidden"] is None} == {
        "lstm",
        "mamba",
        "transformer",
    }
    assert all(row["rank"] is None and row["length"] in (500, None) for row in rows)


def test_a_query_holds_ones_own_against_them(store):
    with SweepWriter(store, "mine") as writer:
        writer.append([pair(cell("full", m=5))])
    rows = query(
        "SELECT tier, m, p.accuracy_scaled FROM cells JOIN published p USING (task, tier, m, length)", store=store
    )
    assert rows.to_pylist() == [{"tier": "full", "m": 5, "accuracy_scaled": 1.0}]
