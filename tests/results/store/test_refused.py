"""A system that does not let the store be read or written, which is no damage of it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bilin.errors import StoreError
from bilin.results import SweepWriter, query, stored, verify
from tests.results.samples import seeds


@pytest.fixture
def disk(tmp_path):
    """A file system of a quarter of a megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    mount(path, "-t", "tmpfs", "-o", "size=256k", "tmpfs")
    yield path
    while path.is_mount():  # a test may have put a view over it
        subprocess.run(["umount", path], check=True)


def mount(path, *arguments):
    done = subprocess.run(["mount", *arguments, path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def test_a_full_disk_loses_nothing_that_was_stored(disk):
    store, kept = disk / "store", 0
    with SweepWriter(store, "sweep") as writer:
        while True:
            try:
                writer.append(seeds(20, start=kept))
            except StoreError as error:
                said = str(error)
                break
            kept += 20
        with pytest.raises(StoreError, match="make room"):
            writer.write_grid("{}")
    assert "(No space left on device): make room on its disk" in said
    assert kept
    assert len(stored(store, "sweep")) == kept
    assert [health.damage for health in verify(store)] == [[]]
    assert not list((store / "sweep").glob("*.new"))
    mount(disk, "-o", "remount,size=16m")
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(20, start=kept))
    assert len(stored(store, "sweep")) == kept + 20


def test_a_file_system_that_is_read_only_is_named(disk):
    store = disk / "store"
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(2))
        mount(disk, "--bind", disk)  # a view of it, which may be read-only while files are open beneath it
        mount(disk, "-o", "remount,bind,ro")
        with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\): .*mount it for writing"):
            writer.append(seeds(2, start=2))
    with pytest.raises(StoreError, match="Read-only file system"), SweepWriter(store, "sweep"):
        pass
    assert len(stored(store, "sweep")) == 2
    assert verify(store)[0].damage == []


@pytest.fixture(params=["manifest.json", "trials-00000001.parquet", "grid.json"])
def forbidden(request):
    """A file of a store that may not be read, not even by root, who is nobody meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)
        try:
            with SweepWriter(Path(folder) / "store", "sweep") as writer:
                writer.append(seeds(1))
                writer.write_grid("{}")
            path = writer.folder.path / request.param
            path.chmod(0)
            yield path
        finally:
            os.seteuid(user)


def test_a_right_that_is_missing_is_no_damage(forbidden):
    store = forbidden.parent.parent
    for attempt in (
        lambda: stored(store, "sweep"),
        lambda: query("SELECT * FROM curves", store=store),
        lambda: SweepWriter(store, "sweep").__enter__(),
    ):
        with pytest.raises(StoreError, match=f"{forbidden} cannot be .*Permission denied"):
            attempt()


def test_a_folder_that_vanishes_while_it_is_written_is_named(store):
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(1))
        shutil.rmtree(store)
        with pytest.raises(StoreError, match=r"No such file or directory\): it was removed, or its disk is gone"):
            writer.append(seeds(1, start=1))


REFUSING = """
import os, sys, errno
from bilin.errors import StoreError
from bilin.results import SweepWriter, stored
from tests.results.samples import seeds

store, number = sys.argv[1], int(sys.argv[2])
refused = []

def refuse(event, arguments):
    if refused and event == "open" and "sweep" in str(arguments[0]):
        raise OSError(number, os.strerror(number), arguments[0])

sys.addaudithook(refuse)
with SweepWriter(store, "sweep") as writer:
    writer.append(seeds(1))
    refused.append(True)
    for attempt in (lambda: stored(store, "sweep"), lambda: writer.append(seeds(1, start=1))):
        try:
            attempt()
        except StoreError as error:
            print(error)
    refused.clear()
assert len(stored(store, "sweep")) == 1
"""


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ESTALE, "mount it again"), (errno.EDQUOT, "quota"), (errno.EIO, "repair it")]
)
def test_a_file_server_that_refuses_is_named(store, number, advice):
    command = [sys.executable, "-c", REFUSING, str(store), str(number)]
    said = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    lines = said.stdout.splitlines()
    assert [f"({os.strerror(number)})" in line and advice in line for line in lines] == [True, True]
    assert said.stderr == ""
