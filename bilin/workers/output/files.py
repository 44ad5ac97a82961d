"""The files of what trials print, beside the store: one file a trial, if it prints anything."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from bilin.folder import SweepFolder

KEPT_BYTES = 2**20
"""How much of the end of a trial's output is kept; while it runs, up to twice as much."""

LAST_BYTES = 8192

_HEAD = re.compile(rb"^--- .*, process (\d+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the output of a sweep's trials is. Every worker must see the folder.

    As a context it surrounds the workers: it removes what workers that are gone have left, before and after.
    """

    sweep: SweepFolder

    def of_worker(self, worker: str) -> Path:
        """Return the file of a worker, for output that has not moved to that of its trial yet; see `Capture`."""
        return self.sweep.logs / f".{worker}"

    def last_words(self, trial_id: str, worker: str, pid: int | None) -> str:
        """Return what a worker that died printed last in a trial, and move what is left of it to the trial's file."""
        try:
            spool = self.of_worker(worker)
            if spool.exists() and spool.stat().st_size:
                with spool.open("rb") as source, self.sweep.trial_log(trial_id).open("ab") as log:
                    log.write(b"--- from a worker that died\n" + tail(source.fileno(), KEPT_BYTES))
                    spool.unlink()
                    last = tail(source.fileno(), LAST_BYTES)
            else:  # what the process wrote to the trial's file, if no other process wrote after it
                content = self.sweep.trial_log(trial_id).read_bytes()
                heads = list(_HEAD.finditer(content))
                last = content[heads[-1].end() :][-LAST_BYTES:] if heads and int(heads[-1][1]) == pid else b""
        except OSError:
            return ""
        return last.decode(errors="replace")

    def __enter__(self) -> Self:
        self._tidy()  # after a launch that was killed
        return self

    def __exit__(self, *exception: object) -> None:
        self._tidy()

    def _tidy(self) -> None:
        """Remove what workers that are gone have left, and the folder if it is empty."""
        with suppress(OSError):
            for spool in self.sweep.logs.glob(".*"):
                spool.unlink(missing_ok=True)
            self.sweep.logs.rmdir()


def open_log(path: Path) -> int:
    """Open a trial's file at its end, with a line that says who writes from there on."""
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    os.write(log, f"--- {now} UTC on {socket.gethostname()}, process {os.getpid()}\n".encode())
    return log


def shorten(log: int, limit: int) -> None:
    """Keep the end of an open file that is longer than a limit."""
    size = os.fstat(log).st_size
    if size > limit:
        kept = tail(log, KEPT_BYTES)
        os.ftruncate(log, 0)
        os.write(log, f"--- {size - len(kept)} bytes before this are left out\n".encode() + kept)


def tail(file: int, count: int) -> bytes:
    """The last bytes of an open file, from the start of a line on."""
    size = os.fstat(file).st_size
    content = os.pread(file, count, max(0, size - count))
    return content if size <= count else content[content.find(b"\n") + 1 :]
