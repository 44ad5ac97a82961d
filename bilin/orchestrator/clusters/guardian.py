"""The process that ends what a sweep's own Ray left behind, however the sweep process ended.

It outlives the sweep process by a moment: its standard input is a pipe that the sweep process holds, so
that even a SIGKILL there reads as an end of file here. Then every process that carries the sweep's mark
in its environment is ended, and the temporary folder is removed.

Where it was itself killed (a machine that went down, a batch system that ends all of a job at once) the folder
stays: the next guardian on the machine removes it.

Why: on Linux, Ray's own fate sharing leaves two of its agents running when the process that started it
is killed. Elsewhere there is no /proc to find marks in, and Ray ends its process group by itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

MARK = "BILIN_RAY_MARK"
GUARDED = "guarded"
"""File in the folder that says the mark; locked while the guardian lives."""

ABANDONED_S = 60.0
"""How old that of an abandoned folder is at least: one that is younger may be about to be locked."""

TERM_S = 1.0
KILL_S = 30.0


def start(mark: str, folder: str) -> subprocess.Popen[bytes]:
    """Start a guardian over the processes with a mark and over a folder; closing its stdin sets it to work."""
    command = [sys.executable, __file__, mark, folder]  # by file: nothing else of bilin is loaded
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def main(mark: str, folder: str) -> None:
    """Wait for the end of standard input, then end the marked processes and remove the folder."""
    with suppress(OSError):  # a disk that is full: then nobody knows the folder, should this process be killed
        _guard(mark, Path(folder))
        _remove_abandoned(Path(folder).parent)
    sys.stdin.buffer.read()
    started = time.monotonic()
    while ((pids := marked(mark)) or Path(folder).exists()) and time.monotonic() < started + KILL_S:
        for pid in pids:
            _signal(pid, signal.SIGTERM if time.monotonic() < started + TERM_S else signal.SIGKILL)
        if not pids:  # what was dying may have written once more: then it takes another turn
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)


def _guard(mark: str, folder: Path) -> None:
    file = os.open(folder / GUARDED, os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)  # until the end of this process
    os.write(file, mark.encode())


def _remove_abandoned(parent: Path) -> None:
    """Remove our folders whose guardian is gone, with all that carried their mark."""
    for path in parent.glob(f"bilin-*/{GUARDED}"):
        with suppress(OSError), path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > ABANDONED_S:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not marked(file.read().decode()):
                    shutil.rmtree(path.parent, ignore_errors=True)


def marked(mark: str) -> list[int]:
    """The ids of the running processes that carry a mark in the environment they were started with."""
    text = f"{MARK}={mark}\0".encode()
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if text in _environment(folder)]


def _environment(folder: Path) -> bytes:
    # Read whole, not name by name: Ray renames its processes, which blanks the first part of this file.
    try:
        return (folder / "environ").read_bytes()
    except OSError:  # gone meanwhile, or somebody else's
        return b""


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main(*sys.argv[1:])
