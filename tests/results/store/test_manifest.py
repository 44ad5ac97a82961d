from __future__ import annotations

import json

import pytest

from bilin.errors import StoreError
from bilin.results import SweepWriter, query, stored
from tests.results.samples import seeds


@pytest.fixture
def sweep(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(2))
    return store / "sweep"


def refusals(store):
    """What each way into the store says."""
    for attempt in (
        lambda: stored(store, "sweep"),
        lambda: query("SELECT count(*) FROM trials", store=store),
    ):
        with pytest.raises(StoreError) as raised:
            attempt()
        yield str(raised.value)


def test_a_newer_schema_is_refused(store, sweep):
    path = sweep / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))
    for message in refusals(store):
        assert message == f"{path} has schema version 2, and this bilin reads up to 1: install a newer one"
    with pytest.raises(StoreError, match="newer"), SweepWriter(store, "sweep"):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"schema_version": "1"}'])
def test_a_manifest_that_cannot_be_read_is_named(store, sweep, content):
    (sweep / "manifest.json").write_bytes(content)
    for message in refusals(store):
        assert message.startswith(f"{sweep / 'manifest.json'} cannot be read")
    with pytest.raises(StoreError, match="cannot be read"), SweepWriter(store, "sweep"):
        pass
    assert (sweep / "trials-00000001.parquet").exists()


def test_parts_without_a_manifest_are_not_thrown_away(store, sweep):
    (sweep / "manifest.json").unlink()
    for message in refusals(store):
        assert "manifest.json is missing, though parts" in message
    with pytest.raises(StoreError, match="missing"), SweepWriter(store, "sweep"):
        pass
    assert (sweep / "trials-00000001.parquet").exists()


def test_a_part_that_is_missing_is_named(store, sweep):
    (sweep / "trials-00000001.parquet").unlink()
    for message in refusals(store):
        assert f"{sweep / 'trials-00000001.parquet'} is missing" in message


def test_a_part_that_is_cut_off_is_named(store, sweep):
    path = sweep / "trials-00000001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    for message in refusals(store):
        assert message.startswith(f"{path} cannot be read")


@pytest.mark.parametrize("damage", ["unlink", "cut"])
def test_a_damaged_curve_is_named(store, sweep, damage):
    path = sweep / "curves-00000001.parquet"
    path.unlink() if damage == "unlink" else path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(StoreError, match=str(path)):
        query("SELECT * FROM curves", store=store)


def test_a_store_that_is_a_file_is_refused(tmp_path):
    store = tmp_path / "store"
    store.write_text("")
    for message in (*refusals(store),):
        assert str(store) in message
    with pytest.raises(StoreError, match="is a file"):
        SweepWriter(store, "sweep")
