"""Keeps what trials print: one file a trial beside the store, if it prints anything. Standard library only.

In a worker process, standard output and error go to a file of the worker. If a trial prints, that moves to the
trial's file, and what follows goes there directly. The system writes it, so nothing is lost when the process is
killed, and what code below Python prints is included, such as a failing assertion in CUDA. In the launching process,
what Python code prints is copied instead.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bilin.folder import SweepFolder

KEPT_BYTES = 2**20
"""How much of the end of a trial's output is kept; while it runs, up to twice as much."""

LAST_BYTES = 8192

_HEAD = re.compile(rb"^--- .*, process (\d+)\n", re.MULTILINE)

_STREAMS = (1, 2)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the output of a sweep's trials is. Every worker must see the folder.

    As a context it surrounds the workers: it removes what workers that are gone have left, before and after.
    """

    folder: SweepFolder

    def last_words(self, trial_id: str, worker: str, pid: int | None) -> str:
        """Return what a worker that died printed last in a trial, and move what is left of it to the trial's file."""
        try:
            spool = self.folder.worker_log(worker)
            if spool.exists() and spool.stat().st_size:
                with spool.open("rb") as source, self.folder.trial_log(trial_id).open("ab") as log:
                    log.write(b"--- from a worker that died\n" + tail(source.fileno(), KEPT_BYTES))
                    spool.unlink()
                    last = tail(source.fileno(), LAST_BYTES)
            else:  # what the process wrote to the trial's file, if no other process wrote after it
                content = self.folder.trial_log(trial_id).read_bytes()
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
            for spool in self.folder.worker_logs():
                spool.unlink(missing_ok=True)
            self.folder.logs.rmdir()


class Capture:
    """Captures what one worker process prints."""

    def __init__(self, outputs: Outputs, worker: str) -> None:
        self._outputs = outputs
        self._worker = worker
        self._spool = -1
        self._trial: str | None = None
        self._log = -1

    @contextmanager
    def capture(self, trial_id: str) -> Iterator[None]:
        """Send what is printed to a trial's file, unless the folder cannot be written."""
        with suppress(OSError):
            if self._spool < 0:
                self._outputs.folder.logs.mkdir(exist_ok=True)
                path = self._outputs.folder.worker_log(self._worker)
                self._spool = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        if self._spool < 0:
            yield
            return
        before = [os.dup(number) for number in _STREAMS]
        self._trial = trial_id
        _point(self._spool)
        try:
            yield
        finally:
            self.move(limit=KEPT_BYTES)
            self._trial = None
            if self._log >= 0:
                os.close(self._log)
                self._log = -1
            for number, stream in zip(_STREAMS, before, strict=True):
                os.dup2(stream, number)
                os.close(stream)

    def move(self, *, limit: int = 2 * KEPT_BYTES) -> None:
        """Move what was printed to the trial's file, and keep that small; the thread of the trial calls it often."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # a full disk, or whatever object the trial has put there
                stream.flush()
        if self._trial is None:
            return
        with suppress(OSError):
            if os.fstat(self._spool).st_size:
                self._move_to_log(self._trial)
            if self._log >= 0:
                shorten(self._log, limit)

    def _move_to_log(self, trial_id: str) -> None:
        if self._log < 0:
            self._log = open_log(self._outputs.folder.trial_log(trial_id))
            _point(self._log)
        os.write(self._log, tail(self._spool, KEPT_BYTES))
        os.ftruncate(self._spool, 0)


def _point(file: int) -> None:
    for number in _STREAMS:
        os.dup2(file, number)


@contextmanager
def copied(path: Path) -> Iterator[None]:
    """Send what Python code prints to a file too, which is made when something is printed."""
    log = _Log(path)
    try:
        with redirect_stdout(_Tee(sys.stdout, log)), redirect_stderr(_Tee(sys.stderr, log)):
            yield
    finally:
        log.close()


class _Log:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def write(self, text: str) -> None:
        with suppress(OSError):  # a full disk is reported where results are written
            if self._file < 0:
                self._path.parent.mkdir(exist_ok=True)
                self._file = open_log(self._path)
            os.write(self._file, text.encode(errors="backslashreplace"))
            shorten(self._file, 2 * KEPT_BYTES)

    def close(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                shorten(self._file, KEPT_BYTES)
            os.close(self._file)
            self._file = -1


class _Tee:
    """A text stream whose writes go to a log first; everything else is that of the stream."""

    def __init__(self, stream: Any, log: _Log) -> None:
        self._stream = stream
        self._log = log

    def write(self, text: str) -> Any:
        self._log.write(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


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
