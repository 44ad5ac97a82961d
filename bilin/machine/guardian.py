"""The guardian: a process that ends what a sweep's own Ray left behind, however the sweep process ended.

It outlives the sweep process by a moment. Its standard input is a pipe that the sweep process holds, so even after
a SIGKILL of that process it reads an end of file. Then it ends every process that belongs to the sweep's temporary
folder, and removes the folder.

If the guardian itself is killed (the machine goes down, a batch system ends everything at once), the folder stays.
The next guardian on that machine removes it.

Why: on Linux, Ray leaves two of its agents running when the process that started it is killed. Elsewhere there is
no /proc to find them in, and Ray ends its process group by itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MARK = "BILIN_RAY_FOLDER"  # environment variable that names the folder that a process belongs to
GUARDED = "guarded"  # file in the folder. The guardian holds a lock on it as long as it lives
ABANDONED_S = 60.0  # minimum age of an abandoned folder: a younger one may be about to be locked

TERM_S = 1.0
KILL_S = 30.0

_PROGRAM = "bilin.machine.guardian"


def command(folder: str) -> list[str]:
    """Return the command that starts a guardian over a folder and its processes."""
    return [sys.executable, "-P", "-m", _PROGRAM, folder]


def start(folder: str) -> subprocess.Popen[bytes]:
    """Start a guardian in a session of its own. It goes to work when its standard input is closed."""
    return subprocess.Popen(command(folder), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def guarded_folder(argv: Sequence[str]) -> str | None:
    """Return the folder that a command line guards; None if it is not a guardian's."""
    return argv[argv.index(_PROGRAM) + 1] if _PROGRAM in argv[:-1] else None


def main(folder: str) -> None:
    """Wait for the end of standard input, then end the processes of the folder and remove it."""
    started_by = os.getppid()
    with suppress(OSError):  # a full disk: then no later guardian finds the folder if this one is killed
        file = os.open(Path(folder) / GUARDED, os.O_CREAT | os.O_WRONLY, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)  # until this process ends
        os.write(file, socket.gethostname().encode())
        _remove_abandoned(Path(folder).parent)
    sys.stdin.buffer.read()
    started = time.monotonic()
    while ((pids := belonging(folder, exclude=started_by)) or Path(folder).exists()) and (
        time.monotonic() < started + KILL_S
    ):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if time.monotonic() < started + TERM_S else signal.SIGKILL)
        if not pids:  # a dying process may have written once more: then the next turn removes it
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)


def _remove_abandoned(parent: Path) -> None:
    """Remove our folders whose guardian is gone and in which nothing runs."""

    def opener(path: str, flags: int) -> int:  # others may have put a link there, or a pipe without a writer
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)

    for path in parent.glob(f"bilin-*/{GUARDED}"):
        with suppress(OSError), open(path, "rb", opener=opener) as file:
            status = os.fstat(file.fileno())
            is_old = status.st_uid == os.getuid() and time.time() - status.st_mtime > ABANDONED_S
            # TMPDIR may be on a disk that hosts share, where none sees the processes of another.
            if is_old and file.read() in (b"", socket.gethostname().encode()):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not belonging(str(path.parent)):
                    shutil.rmtree(path.parent, ignore_errors=True)


def belonging(folder: str, *, exclude: int = 0) -> list[int]:
    """Return the ids of the running processes that were started for a folder, except one."""
    mark = f"{MARK}={folder}\0".encode()
    processes = (process for process in Path("/proc").glob("[0-9]*") if process.name != str(exclude))
    return [int(process.name) for process in processes if _belongs(process, mark, f"{folder}/")]


def _belongs(process: Path, mark: bytes, within: str) -> bool:
    """Return whether the environment of a process has the mark or, if it is blank, a file in the folder is open.

    Ray renames its processes, which blanks the beginning of their environment, sometimes with the mark.
    """
    with suppress(OSError):  # the process has ended, or is another user's
        environment = (process / "environ").read_bytes()
        if mark in environment:
            return True
        return environment.startswith(b"\0") and any(
            str(file.readlink()).startswith(within) for file in (process / "fd").iterdir()
        )
    return False


if __name__ == "__main__":
    main(*sys.argv[1:])
