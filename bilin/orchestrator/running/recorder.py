"""Writes results as they come in, together, from a thread of its own.

A finished trial must be on disk within a second whatever the sweep is doing (in process, it is training
the next one), and thousands of short ones must not be written one at a time.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from bilin.failures import RULES
from bilin.record import TrialResult
from bilin.results import SweepWriter
from bilin.spec import TrialSpec
from bilin.workers.training.checkpoint import Checkpoints

FLUSH_PERIOD_S = 0.25


class Recorder:
    """Takes results and appends what has come in every `FLUSH_PERIOD_S`; the rest when it is left.

    Attributes:
        num_written: Results that are stored.

    Raises:
        Exception: On `put`, `check` or leaving, whatever the thread failed with: results are not lost unsaid.
    """

    def __init__(self, writer: SweepWriter, checkpoints: Checkpoints | None = None) -> None:
        self.num_written = 0
        self._writer = writer
        self._checkpoints = checkpoints
        self._pairs: list[tuple[TrialSpec, TrialResult]] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="bilin-recorder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        self.check()

    @property
    def num_unwritten(self) -> int:
        """Results that have come in and are not stored."""
        return len(self._pairs)

    def put(self, spec: TrialSpec, result: TrialResult) -> None:
        """Have a result written soon."""
        with self._lock:
            self._pairs.append((spec, result))
        self.check()

    def _write(self) -> None:
        try:
            while not self._ending.wait(FLUSH_PERIOD_S):
                self._append()
            self._append()
        except BaseException as error:
            self._error = error

    def _append(self) -> None:
        with self._lock:
            pairs = list(self._pairs)
        self._writer.append(pairs)
        with self._lock:
            del self._pairs[: len(pairs)]
        self.num_written += len(pairs)
        if self._checkpoints:  # only now, when the results are on disk
            self._checkpoints.drop(result.trial_id for _, result in pairs if not _goes_on(result))

    def check(self) -> None:
        """Raise what the thread failed with, if it did."""
        if self._error is not None:
            raise self._error


def _goes_on(result: TrialResult) -> bool:
    """Whether the trial is taken up from its checkpoint, should it run again."""
    return result.status in RULES and RULES[result.status].keeps_checkpoint
