"""What the guardian ends, with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bilin.machine import guardian
from tests.sweeps import wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
WAIT_S = 60.0
"""Room for a slow machine; all of it is waited for only if a test fails."""
DEAF = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"]


def start(command: list[str], folder: object) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    if folder:
        environment[guardian.MARK] = str(folder)
    return subprocess.Popen(command, env=environment, start_new_session=True)


def test_marked_processes_end_with_the_pipe_and_others_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "bilin-a"
    folder.mkdir()
    mine, deaf, other, plain = start(SLEEP, folder), start(DEAF, folder), start(SLEEP, f"{folder}b"), start(SLEEP, None)
    watch = guardian.start(str(folder))
    try:
        assert wait_until((folder / guardian.GUARDED).exists, WAIT_S)
        assert mine.poll() is None, "nothing ends before the pipe does"
        assert watch.stdin is not None
        watch.stdin.close()
        assert watch.wait(WAIT_S) == 0
        assert mine.wait(WAIT_S) < 0
        assert deaf.wait(WAIT_S) < 0
        assert not folder.exists()
        assert plain.poll() is None
        assert other.poll() is None
    finally:
        for process in (mine, deaf, other, plain):
            process.kill()
            process.wait()


def test_a_process_that_has_blanked_its_environment_is_known_by_its_files(tmp_path: Path) -> None:
    (folder := tmp_path / "bilin-a").mkdir()
    renames = "import time, ray; ray._raylet.setproctitle('renamed'); print(flush=True); time.sleep(60)"
    with (folder / "out").open("w") as log, (tmp_path / "out").open("w") as elsewhere:
        processes = [
            subprocess.Popen([sys.executable, "-c", renames], stdout=subprocess.PIPE, stderr=file, env={"A": "b"})
            for file in (log, elsewhere)
        ]
    try:
        assert all(process.stdout and process.stdout.readline() for process in processes)
        assert guardian.belonging(str(folder)) == [processes[0].pid]
        assert guardian.belonging(str(folder), exclude=processes[0].pid) == []
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_folder_whose_guardian_was_killed_goes_with_the_next(tmp_path: Path) -> None:
    killed, uses, lives, new = (tmp_path / f"bilin-{name}" for name in ("killed", "uses", "lives", "new"))
    (elsewhere := tmp_path / "bilin-elsewhere").mkdir()
    (elsewhere / guardian.GUARDED).write_text("another-host")
    others = [guarded(folder) for folder in (killed, uses, lives, new)]
    process = start(SLEEP, uses)
    for watch in others[:2]:
        watch.kill()
        watch.wait()
    for folder in (killed, uses, lives, elsewhere):
        os.utime(folder / guardian.GUARDED, (0, 0))
    others[3].kill()
    try:
        others.append(guarded(tmp_path / "bilin-next"))
        assert wait_until(lambda: not killed.exists(), WAIT_S)
        assert uses.exists(), "something still runs in it"
        assert lives.exists(), "its guardian lives"
        assert new.exists(), "it may be about to be locked"
        assert elsewhere.exists(), "what runs on another host is not seen here"
    finally:
        process.kill()
        process.wait()
        for watch in others:
            watch.communicate()


def test_what_others_put_beside_it_does_not_hold_it_up(tmp_path: Path) -> None:
    (other := tmp_path / "bilin-other").mkdir()
    os.mkfifo(other / guardian.GUARDED)
    watch = guarded(tmp_path / "bilin-mine")
    watch.communicate(timeout=WAIT_S)
    assert not (tmp_path / "bilin-mine").exists()


def guarded(folder: Path) -> subprocess.Popen[bytes]:
    """The guardian of a new folder."""
    folder.mkdir()
    watch = guardian.start(str(folder))
    file = folder / guardian.GUARDED
    assert wait_until(lambda: file.exists() and file.read_text() != "", WAIT_S)
    return watch
