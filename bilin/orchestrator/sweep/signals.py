"""The signals that end a launch as Ctrl-C does: results are kept, and running trials write checkpoints."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from bilin.orchestrator.clusters.slurm.continuation import WARNING

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, WARNING)


@dataclass(slots=True)
class ReceivedSignal:
    """The signal that interrupted a launch, if one did."""

    number: int | None = None

    def number_of(self, interrupt: KeyboardInterrupt) -> int | None:
        """Return the signal that raised an interrupt. Ray replaces the interrupt by one without the number."""
        return next(iter(interrupt.args), self.number)


@contextmanager
def signals_interrupt(received: ReceivedSignal, *, outermost: bool) -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a sweep as Ctrl-C does: finished trials are kept, and nothing is left running.

    Only the first signal counts: a second one would interrupt the ending. A signal that is ignored (as by nohup) stays
    ignored, except the warning of a job, which the job's script ignores until a launch can take it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    signals = [number for number in INTERRUPTS if number == WARNING or signal.getsignal(number) is not signal.SIG_IGN]

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.number = number
        for other in signals:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items() if received.number is None or outermost else ():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
