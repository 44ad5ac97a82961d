"""The process that ends what a sweep's own Ray left behind, however the sweep process ended.

It outlives the sweep process by a moment: its standard input is a pipe that the sweep process holds, so
that even a SIGKILL there reads as an end of file here. Then every process that belongs to the sweep's temporary
folder is ended, and the folder is removed.

Where it was itself killed (a machine that went down, a batch system that ends all of a job at once) the folder
stays: the next guardian on the machine removes it.

Why: on Linux, Ray's own fate sharing leaves two of its agents running when the process that started it
is killed. Elsewhere there is no /proc to find them in, and Ray ends its process group by itself.
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

MARK = "BILIN_RAY_FOLDER"
"""Says in the environment of a process which folder it belongs to."""

GUARDED = "guarded"
"""File in the folder that is locked while its guardian lives."""

ABANDONED_S = 60.0
"""How old that of an abandoned folder is at least: one that is younger may be about to be locked."""

TERM_S = 1.0
KILL_S = 30.0


def start(folder: str) -> subprocess.Popen[bytes]:
    """Start a guardian over a folder and its processes; closing its stdin sets it to work."""
    command = [sys.executable, __file__, folder]  # by file: nothing else of bilin is loaded
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def main(folder: str) -> None:
    """Wait for the end of standard input, then end the processes of the folder and remove it."""
    started_by = os.getppid()
    with suppress(OSError):  # a disk that is full: then nobody knows the folder, should this process be killed
        _guard(Path(folder))
        _remove_abandoned(Path(folder).parent)
    sys.stdin.buffer.read()
    started = time.monotonic()
    while ((pids := belonging(folder, but=started_by)) or Path(folder).exists()) and (
        time.monotonic() < started + KILL_S
    ):
        for pid in pids:
            _signal(pid, signal.SIGTERM if time.monotonic() < started + TERM_S else signal.SIGKILL)
        if not pids:  # what was dying may have written once more: then it takes another turn
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)


def _guard(folder: Path) -> None:
    file = os.open(folder / GUARDED, os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)  # until the end of this process


def _remove_abandoned(parent: Path) -> None:
    """Remove our folders whose guardian is gone, and all that belonged to them."""
    for path in parent.glob(f"bilin-*/{GUARDED}"):
        with suppress(OSError), open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > ABANDONED_S:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not belonging(str(path.parent)):
                    shutil.rmtree(path.parent, ignore_errors=True)


def _without_waiting(path: str, flags: int) -> int:
    """A descriptor of what anybody may have put there: a link, or a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def belonging(folder: str, *, but: int = 0) -> list[int]:
    """The ids of the running processes that were started for a folder, but for one."""
    mark = f"{MARK}={folder}\0".encode()
    processes = (process for process in Path("/proc").glob("[0-9]*") if process.name != str(but))
    return [int(process.name) for process in processes if _belongs(process, mark, f"{folder}/")]


def _belongs(process: Path, mark: bytes, within: str) -> bool:
    """Whether the environment says so, or a file that is open where there is no telling.

    Ray renames its processes, which blanks the first part of their environment, at times with the mark.
    """
    with suppress(OSError):  # gone meanwhile, or somebody else's
        environment = (process / "environ").read_bytes()
        if mark in environment:
            return True
        return environment.startswith(b"\0") and any(
            str(file.readlink()).startswith(within) for file in (process / "fd").iterdir()
        )
    return False


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main(*sys.argv[1:])
