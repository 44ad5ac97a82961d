from __future__ import annotations

import json

import pytest

from bilin.errors import StoreError
from bilin.folder import SweepFolder
from bilin.results import SweepWriter, query, stored
from bilin.results.store.durable import DamageError
from bilin.results.store.manifest import Manifest, read_manifest, write_manifest
from tests.results.samples import forget_checksums, seeds


@pytest.fixture
def sweep(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(2))
    return SweepFolder(store / "sweep")


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
    path = sweep.manifest
    forget_checksums(sweep.path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))
    for message in refusals(store):
        assert message == f"{path} has schema version 2, and this bilin reads up to 1: install a newer one"
    with pytest.raises(StoreError, match="newer"), SweepWriter(store, "sweep"):
        pass


def test_what_it_lists_comes_back(sweep):
    manifest = read_manifest(sweep)
    assert [(part.number, part.trials, part.curves) for part in manifest.parts] == [(1, 2, 4)]
    assert manifest == Manifest(parts=manifest.parts, next_number=2).with_checksums(sweep)
    write_manifest(sweep, manifest)
    assert read_manifest(sweep) == manifest


def test_an_earlier_manifest_is_read(store, sweep):
    forget_checksums(sweep.path)
    assert read_manifest(sweep).checksums == {}
    assert len(stored(store, "sweep")) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"schema_version": "1"}', b"[" * 10**5])
def test_what_is_no_manifest_is_damaged(sweep, content):
    sweep.manifest.write_bytes(content)
    with pytest.raises(DamageError, match="cannot be read"):
        read_manifest(sweep)


def test_a_manifest_with_another_number_is_damaged(sweep):
    path = sweep.manifest
    path.write_text(path.read_text().replace('"next_number": 2', '"next_number": 3'))
    with pytest.raises(DamageError, match="its checksum does not match"):
        read_manifest(sweep)


def test_a_store_that_is_a_file_is_refused(tmp_path):
    store = tmp_path / "store"
    store.write_text("")
    for message in (*refusals(store),):
        assert str(store) in message
    with pytest.raises(StoreError, match="is a file"):
        SweepWriter(store, "sweep")
