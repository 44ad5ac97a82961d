"""Queries whose answers do not fit in memory, asked of a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bilin.errors import CTRL_C_EXIT_CODE, QueryError
from bilin.results import Format, Question, SweepWriter, export
from tests.results.samples import pair

ENDLESS = "SELECT c.* FROM curves c, curves d, curves e, curves f, curves g"
"""10^15 rows for the store below."""

MOST_MB = 1000
"""More than the process takes for one row, and less than a minute of those rows would."""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A store with 1,000 rows of curves."""
    store = tmp_path_factory.mktemp("large") / "store"
    with SweepWriter(store, "sweep") as writer:
        writer.append([pair(seed=seed, curve=100) for seed in range(10)])
    return store


@pytest.fixture
def ask(large, tmp_path):
    """Start `bilin results query` in a process of its own, with a temporary folder of its own."""
    (tmp_path / "scratch").mkdir()

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bilin", "results", "query", *arguments, "--store", str(large)]
        environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

    return start


def peak_mb(process: subprocess.Popen[bytes]) -> float:
    """The greatest memory that a living process has had."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("format_", ["csv", "json"])
def test_rows_are_written_as_they_come_and_a_closed_pipe_ends_the_query(ask, format_):
    with ask(ENDLESS, "--format", format_) as process:
        for _ in range(50_000):
            assert process.stdout.readline()
        assert peak_mb(process) < MOST_MB
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr.read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_parquet_is_written_as_it_comes(ask):
    with ask(ENDLESS, "--format", "parquet") as process:
        assert process.stdout.read(1 << 12)
        assert peak_mb(process) < MOST_MB
        process.stdout.close()
        assert process.wait() == 0


def test_people_see_the_first_rows_and_how_to_get_all(ask):
    with ask(ENDLESS) as process:
        output, message = process.communicate()
    assert output.count(b"\n") == 2 + 10_000
    assert message == b"only the first 10,000 rows: name a --limit, or write all with --format csv\n"


@pytest.mark.parametrize("sql", [ENDLESS, f"SELECT count(*) FROM ({ENDLESS})", f"{ENDLESS} ORDER BY d.loss"])
def test_an_interrupt_ends_a_query_at_once_and_leaves_nothing(ask, tmp_path, sql):
    with ask(sql, "--output", str(tmp_path / "rows.csv")) as process:
        while not (partial := list(tmp_path.glob("rows.csv.*"))):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait() == CTRL_C_EXIT_CODE
    assert partial
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_sort_that_does_not_fit_in_memory_uses_the_disk(large, tmp_path, monkeypatch):
    monkeypatch.setattr("bilin.results.sql.sandbox.memory_bytes", lambda: (0, 0))
    sql = "SELECT c.*, d.loss AS other FROM curves c, curves d, (SELECT * FROM curves LIMIT 4) ORDER BY c.loss + d.loss"
    export(Question(sql=sql, store=large), Format.PARQUET, tmp_path / "rows.parquet")
    assert pq.read_metadata(tmp_path / "rows.parquet").num_rows == 4_000_000


def test_a_failure_leaves_the_file_as_it_was(large, tmp_path):
    path = tmp_path / "rows.csv"
    export(Question(sql="SELECT 1 AS one", store=large), Format.CSV, path)
    sql = "SELECT CASE WHEN step > 5000 THEN error('boom') ELSE 'a' END FROM curves"
    with pytest.raises(QueryError, match="boom"):
        export(Question(sql=sql, store=large), Format.CSV, path)
    assert path.read_text() == "one\n1\n"
    assert list(tmp_path.iterdir()) == [path]
