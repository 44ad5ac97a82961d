"""Stores read without bilin, as docs/results.md says: the rows are those that bilin shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.results import SweepWriter, query
from tests.results.samples import cell, pair

PAGE = (Path(__file__).parents[2] / "docs/results.md").read_text()
KEYS = ["sweep", "trial_id", "tier", "seed", "validation_accuracy"]


def written(folder: Path) -> Path:
    """A store of two sweeps in a folder: a result that was replaced, several parts, and one that was merged."""
    store = folder / "bilin-store"
    with SweepWriter(store, "one") as writer:
        for seed in range(20):
            writer.append([pair(cell("full"), seed=seed)])
        writer.append([pair(cell("full"), seed=1, accuracy=0.5)])
    with SweepWriter(store, "two") as writer:
        writer.append([pair(cell("cp", rank=3), seed=seed) for seed in range(3)])
        writer.append([pair(cell("full"), seed=1, accuracy=0.25)])
    first = min((store / "two").glob("trials-*.parquet"))
    shutil.copy(first, first.with_name("trials-00000099.parquet"))  # as a merge leaves it for a while
    return store


def rows(table: object) -> list[tuple[object, ...]]:
    return sorted(tuple(row[key] for key in KEYS) for row in table.to_pylist())  # type: ignore[attr-defined]


def test_duckdb_reads_a_store_in_place(tmp_path, monkeypatch):
    store = written(tmp_path)
    expected = rows(query(store=store, view="trials", everything=True))
    older = min((store / "two").glob("trials-*.parquet"))
    pq.write_table(pq.read_table(older).drop_columns(["gpu", "gpu_memory_mb"]), older)  # as of an earlier version
    monkeypatch.chdir(tmp_path)
    (recipe,) = [block for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) if "read_json" in block]
    with duckdb.connect() as connection:
        found = connection.sql(recipe)
        assert rows(found.to_arrow_table()) == expected
    assert len(expected) == 24


def test_a_view_in_a_file_has_the_sweep_in_every_row(tmp_path):
    store, file = written(tmp_path), tmp_path / "trials.parquet"
    (command,) = re.findall(r"^bilin results (query --view trials .*parquet)$", PAGE, re.MULTILINE)
    words = command.replace("trials.parquet", str(file)).split()
    assert CliRunner().invoke(app, [*words, "--store", str(store)]).exit_code == 0
    assert rows(pq.read_table(file)) == rows(query(store=store, view="trials"))
