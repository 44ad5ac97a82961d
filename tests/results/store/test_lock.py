from __future__ import annotations

import os

import pytest

from bilin.errors import SweepRunningError
from bilin.results import SweepWriter, holder


def test_nobody_holds_a_sweep_that_is_not_written(store):
    assert holder(store, "sweep") is None
    with SweepWriter(store, "sweep"):
        pass
    assert holder(store, "sweep") is None


def test_the_holder_is_known(store):
    with SweepWriter(store, "sweep", command="bilin sweep launch grid.yaml"):
        found = holder(store, "sweep")
    assert (found.pid, found.command) == (os.getpid(), "bilin sweep launch grid.yaml")


def test_a_second_writer_is_refused_and_changes_nothing(store, writer):
    before = holder(store, "sweep")
    with pytest.raises(SweepRunningError, match="'sweep' is being written by process"), SweepWriter(store, "sweep"):
        pass
    assert holder(store, "sweep") == before


def test_another_sweep_of_the_store_is_free(store, writer):
    with SweepWriter(store, "other"):
        pass


def test_a_lock_file_that_says_nonsense_is_taken(store):
    with SweepWriter(store, "sweep"):
        pass
    (store / "sweep/lock").write_text("{}")
    with SweepWriter(store, "sweep"):
        assert holder(store, "sweep").pid == os.getpid()
