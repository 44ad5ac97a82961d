from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bilin.errors import StoreError, SweepRunningError, WaitWarning
from bilin.folder import SweepFolder
from bilin.results import SweepWriter, holder
from bilin.results.store import lock
from bilin.results.store.holder import Holder, Lease, Process, read_lease
from tests.results.samples import seeds
from tests.sweeps import wait_until

ROOT = Path(__file__).parents[3]
START_S = 100.0
"""Room for a slow machine; all of it is waited for only where a test fails."""


@pytest.fixture
def sweep(store) -> SweepFolder:
    """The folder of a sweep that nobody writes."""
    with SweepWriter(store, "sweep"):
        pass
    return SweepFolder(store / "sweep")


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks."""

    def refuse(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def quick(monkeypatch):
    for name, value in (("LAPSE_S", 1.0), ("_POLL_S", 0.05), ("_SETTLE_S", 0.05)):
        monkeypatch.setattr(lock, name, value)


def elsewhere() -> Holder:
    """A process on another machine."""
    process = replace(Process.own(), host="node7", boot="another start")
    return replace(Holder.own("bilin sweep launch"), process=process)


def test_nobody_holds_a_sweep_that_is_not_written(store):
    assert holder(store, "sweep") is None
    with SweepWriter(store, "sweep"):
        pass
    assert holder(store, "sweep") is None
    assert sorted(path.name for path in (store / "sweep").iterdir()) == ["lock", "manifest.json"]


def test_the_holder_is_known(store, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with SweepWriter(store, "sweep", command="bilin sweep launch grid.yaml"):
        found = holder(store, "sweep")
    assert (found.pid, found.command, found.slurm_job) == (os.getpid(), "bilin sweep launch grid.yaml", "17")
    assert found.process == Process.own()


def test_a_second_writer_is_refused_and_changes_nothing(store, writer):
    before = holder(store, "sweep")
    with pytest.raises(SweepRunningError, match=rf"process {os.getpid()} .*sweep watch") as raised:
        SweepWriter(store, "sweep").__enter__()
    assert f"--store {store}" in str(raised.value)
    assert holder(store, "sweep") == before


def test_another_sweep_of_the_store_is_free(store, writer):
    with SweepWriter(store, "other"):
        pass


def test_a_copy_of_a_folder_that_is_written_is_free(store):
    with SweepWriter(store, "sweep"):
        shutil.copytree(store / "sweep", store / "copy")
        assert holder(store, "copy") is None
        with SweepWriter(store, "copy"):
            assert holder(store, "copy").pid == holder(store, "sweep").pid == os.getpid()


def test_without_locks_the_lease_alone_keeps_a_second_writer_out(store, no_locks):
    with SweepWriter(store, "sweep"):
        assert holder(store, "sweep").pid == os.getpid()
        with pytest.raises(SweepRunningError, match=f"process {os.getpid()}"):
            SweepWriter(store, "sweep").__enter__()
    assert holder(store, "sweep") is None


@pytest.mark.parametrize("began", [None, "1"])
def test_a_lease_of_a_dead_process_of_this_machine_is_taken_at_once(sweep, no_locks, began):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    # or one whose number another process has now
    process = replace(Process.own(), pid=child.pid) if began is None else replace(Process.own(), began=began)
    assert Lease(sweep, replace(Holder.own("dead"), process=process)).create()
    assert holder(sweep.store, "sweep") is None
    with SweepWriter(sweep.store, "sweep"):
        assert holder(sweep.store, "sweep").process == Process.own()


def test_a_process_that_nobody_has_waited_for_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = replace(Process.own(), pid=child.pid, began=process_began(child.pid))
    assert found.is_alive
    child.stdin.close()
    assert wait_until(lambda: not found.is_alive, START_S)
    child.wait()


def process_began(pid: int) -> str:
    from bilin.results.store.holder import _start_of

    return _start_of(pid)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"null", b'{"process": {"pid": "../x"}}', b"\xff"])
def test_a_lease_that_says_nonsense_is_watched_and_taken(sweep, quick, content):
    sweep.lease.write_bytes(content)
    with (
        pytest.warns(WaitWarning, match="a process that lease.json does not name: if"),
        SweepWriter(sweep.store, "sweep") as writer,
    ):
        writer.append([])


def test_a_lease_that_another_machine_no_longer_renews_is_taken_after_a_while(sweep, quick):
    assert Lease(sweep, elsewhere()).create()
    os.utime(sweep.lease, (0, 0))
    assert holder(sweep.store, "sweep").silent_s > 1e9, "a clock that is far off is said, and not believed"
    started = time.monotonic()
    with pytest.warns(WaitWarning, match="node7"):
        writer = SweepWriter(sweep.store, "sweep").__enter__()
    assert time.monotonic() - started >= lock.LAPSE_S
    assert holder(sweep.store, "sweep").process == Process.own()
    writer.__exit__(None, None, None)


def test_a_lease_that_another_machine_renews_is_respected_whatever_its_clock_says(sweep, quick, monkeypatch):
    monkeypatch.setattr(lock, "LAPSE_S", START_S)
    other = Lease(sweep, elsewhere())
    assert other.create()
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.05):
            other.renew()
            os.utime(sweep.lease, (0, 0))

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.warns(WaitWarning), pytest.raises(SweepRunningError, match="node7"):
            SweepWriter(sweep.store, "sweep").__enter__()
    finally:
        ended.set()
        thread.join()
    assert b"another start" in sweep.lease.read_bytes()


def test_a_lease_that_is_given_back_meanwhile_is_free(sweep, quick, monkeypatch):
    monkeypatch.setattr(lock, "LAPSE_S", START_S)
    assert Lease(sweep, elsewhere()).create()
    timer = threading.Timer(0.3, sweep.lease.unlink)
    timer.start()
    with pytest.warns(WaitWarning), SweepWriter(sweep.store, "sweep"):
        pass
    timer.join()


def test_a_writer_whose_lease_was_taken_writes_nothing_more_and_leaves_the_new_one(store, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_S", 0.02)
    with SweepWriter(store, "sweep") as writer:
        writer.append(seeds(1))
        before = sorted((store / "sweep").iterdir())
        other = Lease(SweepFolder(store / "sweep"), elsewhere())
        other.remove()
        assert other.create()
        held = (store / "sweep/lease.json").read_bytes()
        for _ in range(2):
            with pytest.raises(StoreError, match=r"taken over by process .* on node7"):
                writer.append(seeds(2))
        assert sorted((store / "sweep").iterdir()) == before
    assert (store / "sweep/lease.json").read_bytes() == held


def test_a_lease_is_renewed_while_its_writer_lives(store, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_S", 0.02)
    with SweepWriter(store, "sweep"):
        first = read_lease(SweepFolder(store / "sweep"))
        assert wait_until(lambda: read_lease(SweepFolder(store / "sweep")) != first, START_S)
        assert holder(store, "sweep").renewals > 0


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root makes containers here")
def test_a_writer_in_a_container_of_this_machine_is_known_by_its_lock_alone(store, quick):
    """Its number means another process here: it must be neither looked up nor waited for."""
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    appending = [sys.executable, "-m", "tests.results.store.appending", str(store), "0"]
    process = subprocess.Popen([*command, *appending], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout.readline() == b"ready\n"
    found = holder(store, "sweep")
    assert found.pid < 10
    assert not found.process.is_here
    with pytest.raises(SweepRunningError, match="the appending process"):
        SweepWriter(store, "sweep").__enter__()
    process.kill()
    process.communicate()
    assert wait_until(lambda: holder(store, "sweep") is None, START_S)
    with SweepWriter(store, "sweep"):
        pass
