"""The output of a worker process, into the file of the trial that it runs.

Standard output and error go to a file of the worker's own; where a trial prints, that moves to the trial's file and
what follows goes there directly. So it is the system that writes, which loses nothing when the process is killed, and
what code below Python says is there too, such as an assertion of CUDA's that fails. A quiet trial makes no file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bilin.workers.output.files import KEPT_BYTES, Outputs, open_log, shorten, tail

_STREAMS = (1, 2)


class Capture:
    """Captures what one worker process prints."""

    def __init__(self, outputs: Outputs, worker: str) -> None:
        self._outputs = outputs
        self._worker = worker
        self._spool = -1
        self._trial: str | None = None
        self._moved = False

    @contextmanager
    def of(self, trial_id: str) -> Iterator[None]:
        """Have what is printed go to the trial's file; a folder that cannot be written leaves things as they are."""
        with suppress(OSError):
            self._open()
        if self._spool < 0:
            yield
            return
        before = [os.dup(number) for number in _STREAMS]
        self._trial, self._moved = trial_id, False
        _point(self._spool)
        try:
            yield
        finally:
            self.look(limit=KEPT_BYTES)
            self._trial = None
            for number, stream in zip(_STREAMS, before, strict=True):
                os.dup2(stream, number)
                os.close(stream)

    def look(self, *, limit: int = 2 * KEPT_BYTES) -> None:
        """Move what was printed, and keep it small; for the thread of the trial to call, now and then."""
        with suppress(OSError, ValueError):  # a full disk; a stream that the trial has closed
            sys.stdout.flush()
            sys.stderr.flush()
        if self._trial is None:
            return
        with suppress(OSError):
            if not self._moved and os.fstat(self._spool).st_size:
                self._move(self._trial)
            if self._moved:
                shorten(_STREAMS[0], limit)

    def _open(self) -> None:
        if self._spool < 0:
            self._outputs.sweep.logs.mkdir(exist_ok=True)
            path = self._outputs.of_worker(self._worker)
            self._spool = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)

    def _move(self, trial_id: str) -> None:
        log = open_log(self._outputs.of(trial_id))
        try:
            _point(log)
            self._moved = True
            os.write(log, tail(self._spool, KEPT_BYTES))
            os.ftruncate(self._spool, 0)
        finally:
            os.close(log)


def _point(file: int) -> None:
    for number in _STREAMS:
        os.dup2(file, number)
