"""Stores read without bilin, as docs/results.md says: the rows are those that bilin shows.

The parts that a writer leaves behind have each trial once, so that any tool can read them with a plain glob.
"""

from __future__ import annotations

import importlib
import io
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.record import Curve, LengthResult
from bilin.results import Format, SweepWriter, encode, query, table, verify
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


def rows(table: Any, keys: Sequence[str] = KEYS) -> list[tuple[object, ...]]:
    return sorted(tuple(row[key] for key in keys) for row in table.to_pylist())


def test_duckdb_reads_a_store_in_place(tmp_path, monkeypatch):
    store = written(tmp_path)
    expected = rows(query(store=store, view="trials", everything=True))
    older = min((store / "two").glob("trials-*.parquet"))
    pq.write_table(pq.read_table(older).drop_columns(["gpu", "gpu_memory_mb"]), older)  # as of an earlier version
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        found = connection.sql(snippet("sql", "read_json"))
        assert rows(found.to_arrow_table()) == expected
    assert len(expected) == 24


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of ended sweeps in the current folder: with results that were replaced, tested again or deleted."""
    store = written(tmp_path)
    (store / "two/trials-00000099.parquet").unlink()
    with SweepWriter(store, "one") as writer:
        writer.append([pair(cell("full"), seed=seed, accuracy=0.75) for seed in (3, 19)])
        spec, result = pair(cell("full"), seed=5)
        longer = (LengthResult(1000, 7, 8, 5),)
        writer.add_tests([(spec, replace(result, is_test=True, lengths=longer, curve=Curve()))])
        writer.delete([pair(cell("full"), seed=7)[1].trial_id])
    monkeypatch.chdir(tmp_path)
    return store


def snippet(language: str, word: str) -> str:
    (found,) = [block for block in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if word in block]
    return found


@pytest.mark.parametrize("word", ["pandas", "polars", "pyarrow"])
def test_python_reads_the_parts_with_a_plain_glob(ended: Path, word: str) -> None:
    names: dict[str, Any] = {}
    exec(snippet("python", f"import {word}"), names)
    found = names["trials"]
    table = found if word == "pyarrow" else found.to_arrow() if word == "polars" else pa.Table.from_pandas(found)
    expected = query(store=ended, view="trials", everything=True).to_arrow()
    assert rows(table, KEYS[1:]) == rows(expected, KEYS[1:])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_table_in_csv_has_the_same_numbers(tmp_path: Path, library: str) -> None:
    found = table(written(tmp_path), sweep="one", rows=["tier"], cols=["task"], value="validation_accuracy")
    frame = importlib.import_module(library).read_csv(io.BytesIO(encode(found, Format.CSV)))
    assert list(frame.columns) == found.data.column_names
    for name in ("tier", *(name for name in found.data.column_names if pa.types.is_floating(found.data[name].type))):
        assert frame[name].to_list() == found.data[name].to_pylist()


def test_duckdb_reads_the_parts_with_a_plain_glob(ended: Path) -> None:
    with duckdb.connect() as connection:
        found = connection.sql(snippet("sql", "bilin-store/*/trials")).to_arrow_table()
    assert rows(found) == rows(query(store=ended, view="trials", everything=True))
    assert found.num_rows == 23


def test_the_curves_of_the_parts_are_those_of_the_view(ended: Path) -> None:
    found = ds.dataset(sorted(map(str, ended.glob("*/curves-*.parquet")))).count_rows()
    assert found == query(store=ended, view="curves", everything=True).num_rows == 46


def test_parts_have_each_trial_once_after_any_writer(ended: Path) -> None:
    """As those of a writer that was killed, after the next one."""
    with SweepWriter(ended, "one") as writer:
        writer.append([pair(cell("full"), seed=0, accuracy=0.5)])
        shutil.copytree(ended / "one", ended / "killed", ignore=shutil.ignore_patterns("lock", "lease.json"))
    (killed,) = ids_twice(ended / "killed")
    assert killed == pair(cell("full"), seed=0)[1].trial_id
    with SweepWriter(ended, "killed"):
        pass
    assert ids_twice(ended / "killed") == ids_twice(ended / "one") == set()
    one, other = (query(store=ended, view="trials", sweep=name, everything=True) for name in ("one", "killed"))
    assert rows(one, KEYS[1:]) == rows(other, KEYS[1:])
    assert not any(health.damage for health in verify(ended))


def ids_twice(sweep: Path) -> set[str]:
    counts = Counter(ds.dataset(sorted(map(str, sweep.glob("trials-*.parquet")))).to_table(["trial_id"])["trial_id"])
    return {str(trial_id) for trial_id, count in counts.items() if count > 1}


def test_a_view_in_a_file_has_the_sweep_in_every_row(tmp_path):
    store, file = written(tmp_path), tmp_path / "trials.parquet"
    (command,) = re.findall(r"^bilin results (query --view trials .*parquet)$", PAGE, re.MULTILINE)
    words = command.replace("trials.parquet", str(file)).split()
    assert CliRunner().invoke(app, [*words, "--store", str(store)]).exit_code == 0
    assert rows(pq.read_table(file)) == rows(query(store=store, view="trials"))
