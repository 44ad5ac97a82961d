from __future__ import annotations

import shutil
import warnings

import pyarrow.parquet as pq
import pytest

from bilin.errors import DamageWarning
from bilin.results import SweepWriter, WantedRow, query, stored, stored_grid, verify
from tests.results.samples import cell, ids, pair, seeds

MANIFESTS = [b"", b"{", b'{"schema_version": 1, "parts": [], "next_number": 7', None]


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path):
    path.unlink()


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


WAYS = pytest.mark.parametrize("damage", [cut, flip, remove, replace_by_folder])


def want():
    return WantedRow(
        cell_id=cell().cell_id, lrs=(1e-3,), seeds=(0, 1), num_trials=2, test_lengths=(10,), num_sequences=2048
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Three parts, as a writer that was killed leaves them: seeds 0 and 1; 2 and 3; and 3 again."""
    folder = tmp_path_factory.mktemp("template")
    store, killed = folder / "store", folder / "killed"
    with SweepWriter(store, "sweep") as writer:
        for pairs in (seeds(2), seeds(2, start=2, attempts=1), seeds(1, start=3, attempts=2)):
            writer.append(pairs)
        writer.write_wanted([want()])
        writer.write_grid('{"name": "sweep"}')
        shutil.copytree(store, killed, ignore=shutil.ignore_patterns("lock", "lease.json"))
    return killed


@pytest.fixture
def sweep(template, store):
    shutil.copytree(template, store)
    return store / "sweep"


def said(read):
    """What a reader returns, and what it says is damaged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = read()
    assert {each.category for each in caught} <= {DamageWarning}
    return result, [str(each.message) for each in caught]


def attempts(store):
    return {trial.seed: trial.attempts for trial in stored(store, "sweep").values()}


@WAYS
def test_a_damaged_part_is_left_out_said_once_and_set_aside_by_a_writer(store, sweep, damage):
    path = sweep / "trials-00000002.parquet"
    damage(path)
    content = path.read_bytes() if path.is_file() else None
    for read in (lambda: attempts(store), lambda: seeds_in(store, "trials"), lambda: seeds_in(store, "curves")):
        result, messages = said(read)
        assert sorted(result) == [0, 1, 3]
        assert [message.startswith(f"{path} ") and "2 trials left out" in message for message in messages] == [True]
    _, messages = said(lambda: SweepWriter(store, "sweep").__enter__().__exit__(None, None, None))
    assert [f"{path} " in message and "the next launch runs" in message for message in messages] == [True]
    kept = sweep / "damaged" / path.name
    assert content is None or kept.read_bytes() == content
    assert (sweep / "damaged/curves-00000002.parquet").exists()
    assert said(lambda: attempts(store)) == ({0: 1, 1: 1, 3: 2}, [])
    assert [health.damage for health in verify(store)] == [[]]


def seeds_in(store, view):
    sql = f"SELECT DISTINCT seed FROM {view} JOIN trials t USING (sweep, trial_id)" if view != "trials" else None
    return query(sql, view=None if sql else view, store=store, everything=True)["seed"].to_pylist()


@WAYS
def test_results_stand_whose_curves_are_damaged(store, sweep, damage):
    path = sweep / "curves-00000001.parquet"
    damage(path)
    curves, messages = said(lambda: query(view="curves", store=store, everything=True))
    assert (curves.num_rows, len(messages)) == (4, 1)
    assert messages[0].startswith(f"{path} ")
    assert len(said(lambda: attempts(store))[0]) == 4
    with pytest.warns(DamageWarning, match="curves of 2 trials left out"), SweepWriter(store, "sweep") as writer:
        writer.compact()
    assert said(lambda: attempts(store)) == ({0: 1, 1: 1, 2: 1, 3: 2}, [])


@pytest.mark.parametrize("content", MANIFESTS)
def test_a_damaged_manifest_is_made_anew_from_the_parts(store, sweep, content):
    path = sweep / "manifest.json"
    path.unlink() if content is None else path.write_bytes(content)
    found, messages = said(lambda: attempts(store))
    assert (found, len(messages)) == ({0: 1, 1: 1, 2: 1, 3: 2}, 1)
    assert seeds_in_curves(store) == {0: 2, 1: 2, 2: 2, 3: 2}
    with pytest.warns(DamageWarning, match="rewrites it"), SweepWriter(store, "sweep") as writer:
        writer.append(seeds(1, start=4))
    assert said(lambda: attempts(store)) == ({0: 1, 1: 1, 2: 1, 3: 2, 4: 1}, [])
    assert (sweep / "trials-00000004.parquet").exists()
    assert (sweep / "damaged/manifest.json").exists() == (content is not None)


def seeds_in_curves(store):
    sql = "SELECT seed, count(*) AS n FROM curves JOIN trials USING (sweep, trial_id) GROUP BY seed"
    return {row["seed"]: row["n"] for row in said(lambda: query(sql, store=store, everything=True))[0].to_pylist()}


def test_a_part_that_is_damaged_beside_a_damaged_manifest_is_set_aside(store, sweep):
    (sweep / "manifest.json").write_text("")
    path = sweep / "trials-00000001.parquet"
    column, content = pq.read_metadata(path).row_group(0).column(0), bytearray(path.read_bytes())
    content[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1  # a page has a checksum of its own
    path.write_bytes(content)
    found, messages = said(lambda: attempts(store))
    assert (found, len(messages)) == ({2: 1, 3: 2}, 2)
    with pytest.warns(DamageWarning), SweepWriter(store, "sweep"):
        pass
    assert sorted(path.name for path in (sweep / "damaged").iterdir()) == [
        "curves-00000001.parquet",
        "manifest.json",
        "trials-00000001.parquet",
    ]


def test_a_superseded_row_stays_so_when_the_manifest_is_made_anew(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append([pair(seed=0, attempts=1), pair(seed=1)])
        writer.append([pair(seed=0, attempts=2)])
        writer.delete(ids([pair(seed=1)]))  # writes the first part again, with a number beyond the second's
    (store / "sweep/manifest.json").unlink()
    assert said(lambda: attempts(store))[0] == {0: 2}


def test_parts_that_an_older_manifest_does_not_know_are_listed_again(store, sweep):
    with SweepWriter(store, "sweep"):
        pass
    before = (sweep / "manifest.json").read_bytes()
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(1, start=9))
    (sweep / "manifest.json").write_bytes(before)
    assert 9 not in attempts(store)
    with SweepWriter(store, "sweep"):
        pass
    assert attempts(store)[9] == 1


@pytest.mark.parametrize(
    "name", ["notes.txt", "trials-backup.parquet", "trials-1.parquet", "trials-00000001.parquet.bak", "x.new"]
)
def test_a_foreign_file_is_left_alone(store, sweep, name):
    (sweep / name).write_text("mine")
    with SweepWriter(store, "sweep") as writer:
        writer.compact()
    assert said(lambda: len(stored(store, "sweep"))) == (4, [])
    assert (sweep / name).read_text() == "mine"


@WAYS
def test_every_row_is_shown_where_what_is_wanted_is_damaged(store, sweep, damage):
    assert query(view="trials", store=store).num_rows == 2
    damage(sweep / "wanted.parquet")
    rows, messages = said(lambda: query(view="trials", store=store))
    assert rows.num_rows == 4
    assert [("every row" in message) for message in messages] == ([] if damage is remove else [True])


def test_a_damaged_grid_is_none(store, sweep):
    path = sweep / "grid.json"
    path.write_text(path.read_text().replace("sweep", "sweeq"))
    found, messages = said(lambda: stored_grid(store, "sweep"))
    assert found is None
    assert messages[0].startswith(f"{path} is damaged")
    with pytest.warns(DamageWarning), SweepWriter(store, "sweep") as writer:
        writer.write_grid("{}")
    assert said(lambda: stored_grid(store, "sweep")) == ("{}", [])
