"""Sweeps that outlive the terminal, as processes: started in the background, watched, ended."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bilin.folder import SweepFolder
from bilin.machine import guardian
from bilin.orchestrator.background.cancellation import guarded_folders
from bilin.results import holder
from bilin.results.store.holder import Holder, Lease
from tests.sweeps import bilin, finish, wait_until, write_grid

ENDLESS = """
name: endless
tasks: [{name: modular_addition, m: 2}]
models: [{tier: real_diagonal, hidden: 4, embedding: 4}]
train: {steps: 100000000, stop_when_solved: false}
validate: {every: 1000, lengths: [20], num_sequences: 16}
test: {lengths: [10], num_sequences: 16}
learning_rate: {choices: [1e-2]}
"""
QUICK = ENDLESS.replace("100000000", "20").replace("endless", "quick")
WAIT_S = 100.0
"""Room for a slow machine; all of it is waited for only where a test fails."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A store, whose sweep is killed at the end if a test left it running."""
    yield tmp_path / "store"
    if (tmp_path / "store/endless").exists() and (found := holder(tmp_path / "store", "endless")):
        os.kill(found.pid, signal.SIGKILL)


def test_a_detached_sweep_outlives_its_terminal_and_ends_with_grace(tmp_path: Path, store: Path) -> None:
    grid = write_grid(tmp_path, ENDLESS)
    leader, follower = pty.openpty()
    arguments = ["sweep", "launch", str(grid), "--store", str(store), "--cluster", "inline", "--detach"]
    terminal = subprocess.Popen(
        [sys.executable, "-m", "bilin", *arguments],
        stdin=follower,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    os.close(follower)
    said, _ = terminal.communicate(timeout=WAIT_S)
    assert terminal.returncode == 0
    os.close(leader)
    found = holder(store, "endless")
    assert f"process {found.pid}" in said
    assert f"bilin sweep watch endless --store {store}" in said
    assert found.process.is_alive
    assert os.getsid(found.pid) == found.pid

    code, out, _ = finish(bilin("sweep", "cancel", "endless", "--store", store))
    assert code == 0
    assert "has ended" in out
    assert holder(store, "endless") is None
    (log,) = (store / "endless/jobs").iterdir()
    assert "the same command continues from here" in log.read_text()
    code, out, _ = finish(bilin("sweep", "cancel", "endless", "--store", store))
    assert (code, out) == (0, "endless: it is not running; nothing changed\n")


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [(ENDLESS.replace("m: 2", "m: 0"), [], 2), (ENDLESS, ["--retry", "no"], 2), (ENDLESS, ["--address", ":1"], 2)],
)
def test_bad_input_is_said_where_it_was_given(tmp_path: Path, text: str, arguments: list[str], code: int) -> None:
    grid = write_grid(tmp_path, text)
    ended = finish(bilin("sweep", "launch", grid, "--store", tmp_path / "store", "--detach", *arguments))
    assert (ended[0], ended[1]) == (code, "")
    assert ended[2].startswith("bilin: ")
    assert not (tmp_path / "store").exists()


def test_one_that_is_run_already_is_said_at_once(tmp_path: Path, store: Path) -> None:
    grid = write_grid(tmp_path, ENDLESS)
    command = ["sweep", "launch", grid, "--store", store, "--cluster", "inline"]
    first = bilin(*command)
    assert wait_until(lambda: (store / "endless").exists() and holder(store, "endless"), WAIT_S)
    code, _, err = finish(bilin(*command, "--detach"))
    assert code == 2
    assert f"process {first.pid}" in err
    first.kill()
    first.communicate()


@pytest.mark.slow
def test_watch_shows_what_another_process_runs_and_ends_with_it(tmp_path: Path, store: Path) -> None:
    """On a terminal, as a launch does; Ctrl-C there leaves the sweep alone."""
    grid = write_grid(tmp_path, ENDLESS)
    launched = bilin("sweep", "launch", grid, "--store", store, "--cluster", "inline", "--detach")
    assert finish(launched)[0] == 0
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "bilin", "sweep", "watch", "endless", "--store", str(store)]
    watching = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=follower, env={**os.environ, "TERM": "xterm"}, text=True
    )
    os.close(follower)
    seen = b""
    while b"real_diagonal" not in seen or b"1 running" not in seen:
        seen += os.read(leader, 4096)
    watching.send_signal(signal.SIGINT)
    out, _ = watching.communicate(timeout=WAIT_S)
    os.close(leader)
    assert watching.returncode == 0
    assert "endless keeps running" in out
    assert holder(store, "endless") is not None
    code, out, _ = finish(bilin("sweep", "status", "endless", "--store", store))
    assert re.search(r"now +1 trial running; since .* UTC: none ended", out)

    watching = bilin("sweep", "watch", "endless", "--store", store)
    assert watching.stderr is not None
    assert "1 running" in watching.stderr.readline()
    assert finish(bilin("sweep", "cancel", "endless", "--store", store))[0] == 0
    code, out, _ = finish(watching)
    assert code == 3
    assert "ended before it was complete" in out


def test_watch_of_a_sweep_that_does_not_run_says_how_it_stands(tmp_path: Path, store: Path) -> None:
    finish(bilin("sweep", "launch", write_grid(tmp_path, QUICK), "--store", store, "--cluster", "inline"))
    code, out, _ = finish(bilin("sweep", "watch", "quick", "--store", store))
    assert code == 0
    assert "complete" in out
    code, _, err = finish(bilin("sweep", "watch", "quack", "--store", store))
    assert code == 2
    assert "quick" in err


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_that_does_not_end_by_itself_is_killed_with_all_of_its_ray(tmp_path: Path, store: Path) -> None:
    grid = write_grid(tmp_path, ENDLESS)
    process = bilin("sweep", "launch", grid, "--store", store, "--workers", "1")
    assert wait_until((store / "endless/wanted.parquet").exists, WAIT_S)
    folders = guarded_folders(process.pid)
    assert len(folders) == 1
    os.kill(process.pid, signal.SIGSTOP)
    code, out, _ = finish(bilin("sweep", "cancel", "endless", "--store", store, "--grace", "0.5"))
    assert code == 0
    assert "was killed" in out
    assert not any(guardian.belonging(folder) for folder in folders)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_no_process_but_the_holder_is_ended(tmp_path: Path, store: Path) -> None:
    """A lease of a dead holder whose number another process has now, and one of a holder elsewhere."""
    finish(bilin("sweep", "launch", write_grid(tmp_path, QUICK), "--store", store, "--cluster", "inline"))
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    own = Holder.own("bilin sweep launch")
    recycled = replace(own, process=replace(own.process, pid=bystander.pid, began="1"))
    far = replace(own, process=replace(own.process, pid=bystander.pid, host="node7", boot="another"), slurm_job="12")
    for found, code, said in ((recycled, 0, "it is not running"), (far, 4, "scancel 12")):
        lease = Lease(SweepFolder(store / "quick"), found)
        assert lease.create()
        ended = finish(bilin("sweep", "cancel", "quick", "--store", store))
        assert ended[0] == code
        assert said in ended[1] + ended[2]
        lease.close()
    SweepFolder(store / "quick").lease.write_text("junk")
    code, _, err = finish(bilin("sweep", "cancel", "quick", "--store", store))
    assert (code, "ssh" in err) == (4, False)
    assert "a process that lease.json does not name, which cannot be ended from here: end it where it runs" in err
    assert bystander.poll() is None
    bystander.communicate(b"\n")
