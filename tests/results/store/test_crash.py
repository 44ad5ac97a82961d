from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bilin.errors import SweepRunningError
from bilin.results import SweepWriter, holder, query, stored

ROOT = Path(__file__).parents[3]
ROUNDS = 8


def start(store, first=0):
    command = [sys.executable, "-m", "tests.results.store.appending", str(store), str(first)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout.readline() == b"ready\n"
    return process


def kill(process):
    """Kill it with SIGKILL and return the numbers that it said."""
    process.kill()
    said, _ = process.communicate()
    return [int(line) for line in said.split(b"\n")[:-1]]


def test_killed_at_any_instant_no_trial_is_lost_and_none_doubled(store):
    chance = random.Random(7)
    durable = []
    for _ in range(ROUNDS):
        process = start(store, len(durable))
        time.sleep(chance.uniform(0.0, 0.8))
        durable += [len(durable), *kill(process)]
        kept = sorted(trial.seed for trial in stored(store, "sweep").values())
        # one more than it could still say may be on disk
        assert kept in (durable, [*durable, len(durable)])
        durable = kept
    counts = query("SELECT seed, count(*) AS n, count(DISTINCT step) AS steps FROM trials JOIN curves "
                   "USING (trial_id) GROUP BY seed", store=store).to_pylist()  # fmt: skip
    assert sorted(row["seed"] for row in counts) == durable
    assert {(row["n"], row["steps"]) for row in counts} == {(2, 2)}


def test_a_second_writer_is_told_who_writes(store):
    process = start(store)
    try:
        with pytest.raises(SweepRunningError, match=rf"process {process.pid} .*the appending process") as raised:
            SweepWriter(store, "sweep").__enter__()
        assert raised.value.exit_code == 2
        assert holder(store, "sweep").pid == process.pid
    finally:
        kill(process)
    assert holder(store, "sweep") is None
    with SweepWriter(store, "sweep"):
        pass


def test_readers_see_whole_trials_while_parts_are_merged(store):
    process = start(store)
    try:
        seen = 0
        for _ in range(12):
            row = query("SELECT count(*) AS trials, (SELECT count(*) FROM curves) AS curves FROM trials", store=store)
            (counts,) = row.to_pylist()
            assert counts["curves"] == 2 * counts["trials"]
            assert len(stored(store, "sweep")) >= counts["trials"] >= seen
            seen = counts["trials"]
    finally:
        kill(process)
    assert seen > 0


def test_readers_go_on_when_files_vanish_under_them(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append([])
    finished = subprocess.Popen([sys.executable, "-c", OPENING, str(store)], cwd=ROOT)
    while finished.poll() is None:
        assert query("SELECT count(*) = count(DISTINCT trial_id) AS whole FROM trials", store=store).to_pylist()[0][
            "whole"
        ]
        stored(store, "sweep")
    assert finished.returncode == 0


OPENING = """
import sys
from bilin.results import SweepWriter
from tests.results.samples import ids, seeds

for _ in range(20):
    with SweepWriter(sys.argv[1], "sweep") as writer:
        writer.append(seeds(5))
        writer.delete(ids(seeds(2)))
"""
