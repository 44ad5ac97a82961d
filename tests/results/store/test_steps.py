"""A store whose writer is struck at every step that it takes, one after the other."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from bilin.errors import DamageWarning
from bilin.results import SweepWriter, stored, stored_grid, verify
from tests.results.samples import pair, seeds

ROOT = Path(__file__).parents[3]
BEFORE = {0: 1, 1: 2, 2: 1, 3: 1}
AFTER = {"append": {**BEFORE, 15: 1}, "delete": {1: 2, 3: 1}, "compact": BEFORE}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Three parts; the first has a row that the last supersedes."""
    store = tmp_path_factory.mktemp("template") / "store"
    with SweepWriter(store, "sweep") as writer:
        for pairs in (seeds(2), seeds(2, start=2), [pair(seed=1, attempts=2)]):
            writer.append(pairs)
        writer.write_grid('{"old": true}')
    return store


def strike(template, into, action, way):
    """Every store that was struck, and whether its change was reported as done."""
    command = [sys.executable, "-m", "tests.results.store.striking", template, into, action, way]
    said = subprocess.run([*map(str, command)], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert len(said) > 3
    return [(into / name, (into / f"{name}.reported").exists()) for name in said]


def attempts(store):
    """The attempts of each seed, where nothing is damaged and each trial has its curve."""
    (health,) = verify(store)
    assert health.damage == []
    assert health.num_curves == 2 * health.num_trials
    return {trial.seed: trial.attempts for trial in stored(store, "sweep").values()}


@pytest.mark.parametrize("way", ["die", "fail"])
@pytest.mark.parametrize("action", ["append", "delete", "compact"])
def test_nothing_is_lost_or_doubled_whichever_step_is_the_last(template, tmp_path, action, way):
    before, after = BEFORE, AFTER[action]
    for store, reported in strike(template, tmp_path, action, way):
        found = attempts(store)
        assert found == after or (found == before and not reported)
        with SweepWriter(store, "sweep"):
            pass
        again = attempts(store)  # what was written whole may be listed now
        assert again == found or (not reported and again == after)


@pytest.mark.parametrize("action", ["append", "compact"])
def test_nothing_is_lost_or_doubled_when_killed_at_a_random_moment(template, tmp_path, action):
    for store, reported in strike(template, tmp_path, action, "kill"):
        found = attempts(store)
        assert found == AFTER[action] or (found == BEFORE and not reported)


@pytest.mark.parametrize("way", ["die", "fail"])
def test_the_grid_is_the_one_before_or_the_one_after(template, tmp_path, way):
    for store, reported in strike(template, tmp_path, "keep_grid", way):
        assert stored_grid(store, "sweep") in (['{"new": true}'] if reported else ['{"old": true}', '{"new": true}'])
        assert attempts(store) == BEFORE


@pytest.mark.parametrize("way", ["die", "fail"])
def test_mending_that_is_struck_is_done_again(template, tmp_path, way):
    sweep = template / "sweep"
    manifest, part = (sweep / "manifest.json").read_bytes(), (sweep / "trials-00000002.parquet").read_bytes()
    try:
        (sweep / "manifest.json").write_bytes(manifest[:-30])
        (sweep / "trials-00000002.parquet").write_bytes(part[:-30])
        struck = strike(template, tmp_path, "mend", way)
    finally:
        (sweep / "manifest.json").write_bytes(manifest)
        (sweep / "trials-00000002.parquet").write_bytes(part)
    for store, _ in struck:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DamageWarning)
            with SweepWriter(store, "sweep"):
                pass
        assert attempts(store) == {0: 1, 1: 2}
        aside = {path.name for path in (store / "sweep/damaged").iterdir()}
        assert {"trials-00000002.parquet", "curves-00000002.parquet", "manifest.json"} <= aside
