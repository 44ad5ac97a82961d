from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from typing import get_args

import pyarrow.parquet as pq
import pytest

from bilin.cli.results import display
from bilin.errors import InputError, QueryError, StoreError
from bilin.results import Format, SweepWriter
from tests.results.samples import seeds


@pytest.mark.parametrize("command", ["query", "table", "compare"])
def test_pandas_and_scipy_are_not_imported_for_the_intervals_of_a_cell(store, command):
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(3, accuracy=0.9))
    code = f"""
import atexit, sys
from bilin.cli.app import main
sys.argv = ["bilin", "results", {command!r}, "--store", {str(store)!r}]
atexit.register(lambda: print(sorted({{"pandas", "scipy", "matplotlib"}} & set(sys.modules)), file=sys.stderr))
main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip().splitlines()[-1]) == (0, "[]")


def test_without_arguments_a_table_of_the_cells(bilin):
    lines = bilin("query").stdout.splitlines()
    assert lines[0].split() == [
        "task",
        "m",
        "tier",
        "rank",
        "length",
        "lr",
        "num_seeds",
        "num_solved",
        "mean",
        "min",
        "max",
        "best",
    ]
    assert lines[2].split() == ["modular_addition", "5", "full", "10", "0.001", "1", "1", "1", "1", "1", "1"]
    assert len(lines) == 2 + 4


def test_flags_narrow_the_table(bilin):
    rows = bilin(
        "query", "--where", "tier = 'cp'", "--select", "mean", "--sort", "mean", "--limit", "1", "--format", "csv"
    )
    assert rows.stdout.splitlines() == ["mean", "0.5001220703125"]


def test_sql_and_json(bilin):
    result = bilin("query", "SELECT tier, started_at, training_loss FROM trials ORDER BY tier", "--format", "json")
    assert json.loads(result.stdout)[1] == {
        "tier": "full", "started_at": "2026-09-21T14:13:20.250000Z", "training_loss": 0.0,
    }  # fmt: skip


def test_a_view_is_shown_without_what_says_nothing_but_exported_whole(bilin):
    shown = bilin("query", "--view", "trials").stdout.splitlines()[0].split()
    exported = next(csv.reader(io.StringIO(bilin("query", "--view", "trials", "--format", "csv").stdout)))
    assert "spec" not in shown
    assert {"trial_id", "tier", "rank", "status", "error"} <= set(shown)
    assert {"spec", "host", "traceback", *shown} <= set(exported)


def test_output_goes_to_a_file(bilin, tmp_path):
    path = tmp_path / "trials.parquet"
    result = bilin("query", "--view", "trials", "--format", "parquet", "--output", str(path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert pq.read_table(path).num_rows == 3


@pytest.mark.parametrize(
    ("name", "start"), [("rows.csv", b"tier,m\n"), ("ROWS.JSON", b"[\n"), ("rows.md", b"| tier"), ("rows.txt", b"tier")]
)
def test_the_ending_of_the_output_is_its_format(bilin, tmp_path, name, start):
    assert bilin("query", "--select", "tier, m", "--output", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(start)


def test_an_unknown_ending_needs_a_format(bilin, tmp_path):
    path = tmp_path / "rows.xlsx"
    assert "names that end in .csv" in str(bilin("query", "--output", str(path)).exception)
    assert not path.exists()
    assert bilin("query", "--select", "tier, m", "--format", "csv", "--output", str(path)).exit_code == 0
    assert path.read_bytes().startswith(b"tier,m\n")


def test_a_format_that_contradicts_the_ending_is_an_error(bilin, tmp_path):
    result = bilin("query", "--format", "json", "--output", str(tmp_path / "x.csv"))
    assert isinstance(result.exception, InputError)
    assert "found --format json and --output" in str(result.exception)
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.slow
def test_every_column_of_the_cells_can_be_selected(bilin):
    header = bilin("query", "--select", "*", "--format", "csv").stdout.splitlines()[0].split(",")
    assert {"best", "low", "high", "seeds", "scores", "cell_id", "recurrent_params"} <= set(header)
    for name in header:
        assert bilin("query", "--select", f'"{name}"', "--format", "csv").stdout.splitlines()[0] == name


def test_output_that_cannot_be_written_is_said(bilin, tmp_path):
    result = bilin("query", "--output", str(tmp_path / "no" / "file"))
    assert isinstance(result.exception, InputError)
    assert "cannot be written: No such file or directory" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["SELECT nope FROM trials"], QueryError),
        (["--store", "nowhere"], StoreError),
        (["--sweep", "nope"], StoreError),
    ],
)
def test_faults_are_errors_of_the_user(bilin, arguments, error):
    result = bilin("query", *arguments)
    assert isinstance(result.exception, error)
    assert result.exception.exit_code == 2


def test_the_help_names_every_format_and_no_other_is_accepted(bilin):
    _, option = get_args(display.Format)
    assert option.metavar == f"<{'|'.join(Format)}>"
    refused = bilin("query", "--format", "xml")
    assert refused.exit_code == 2
    assert "no format 'xml'; accepted: table, csv" in re.sub(r"[\s│]+", " ", refused.stderr)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from bilin.cli.results import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pyarrow', 'duckdb', 'numpy', 'pandas', 'scipy', 'torch', 'ray', 'optuna'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_explain_takes_no_question(bilin):
    result = bilin("query", "SELECT 1", "--explain")
    assert "--explain lists columns" in str(result.exception)
