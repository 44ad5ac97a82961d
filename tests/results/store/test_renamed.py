"""Sweeps that are renamed while they are read: a reader sees every trial, under one name or the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bilin.errors import StoreError
from bilin.folder import SweepFolder
from bilin.orchestrator.monitor.sweep import statuses
from bilin.results import SweepWriter, query, remove, shared_trials, sweep_names, verify
from bilin.results.store.contents import read_sweeps, sweep_folders
from tests.results.samples import cell, seeds

ROOT = Path(__file__).parents[3]

RENAMING = """
import sys
from bilin.results import SweepWriter

for number in range(200):
    with SweepWriter(sys.argv[1], f"name-{number}", exists=True) as writer:
        writer.rename(f"name-{number + 1}")
"""
"""No name comes twice: a folder that is gone stays gone."""


@pytest.fixture
def store(store):
    with SweepWriter(store, "name-0") as writer:
        writer.append(seeds(2))
    with SweepWriter(store, "other") as writer:
        writer.append(seeds(1, cell("cp", rank=2)))
    return store


@pytest.mark.parametrize(
    "look",
    [
        lambda store: len(sweep_names(store)),
        lambda store: query("SELECT count(DISTINCT trial_id) - 1 AS n FROM trials", store=store).to_pylist()[0]["n"],
        lambda store: sum(health.num_trials - 1 for health in verify(store)) + 1,
        lambda store: len(statuses(store=store)),
        lambda store: len({one.trial_id for one in shared_trials(store, (), {cell().cell_id})[cell().cell_id]}),
    ],
    ids=["sweep_names", "query", "verify", "statuses", "shared_trials"],
)
def test_a_reader_beside_renames_misses_nothing(store, look):
    renaming = subprocess.Popen([sys.executable, "-c", RENAMING, str(store)], cwd=ROOT)
    try:
        found = {look(store)}
        while renaming.poll() is None:
            found.add(look(store))
    finally:
        renaming.kill()
        renaming.wait()
    assert renaming.returncode == 0
    assert sweep_names(store) == ["name-200", "other"]
    assert found == {2}


def test_folders_are_listed_again_if_one_is_renamed_before_it_is_read(store):
    listed = []

    def find():
        folders = sweep_folders(store)
        if not listed:
            with SweepWriter(store, "name-0") as writer:
                writer.rename("name-1")
        listed.append([folder.name for folder in folders])
        return folders

    found = read_sweeps(find, lambda sweeps: {sweep.folder.name: len(sweep.manifest.parts) for sweep in sweeps})
    assert found == {"name-1": 1, "other": 1}
    assert listed == [["name-0", "other"], ["name-1", "other"]]


def test_a_sweep_that_was_renamed_is_not_made_again(store):
    rows = query(store=store, view="trials", sweep="name-0").to_arrow()
    with SweepWriter(store, "name-0") as writer:
        writer.rename("name-1")
    with pytest.raises(StoreError, match=r"no sweep 'name-0' in the store .*; sweeps in it: name-1, other"):
        remove(store, rows)
    assert sweep_names(store) == ["name-1", "other"]
    assert not SweepFolder.of(store, "name-0").path.exists()


def test_a_link_to_nowhere_is_no_sweep(store):
    (store / "gone").symlink_to("nowhere")
    assert sweep_names(store) == ["name-0", "other"]
