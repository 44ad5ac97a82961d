"""The signals that end a launch as Ctrl-C does: what has ended is kept, what runs is kept where it can be."""

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
class Came:
    """The signal that came, if one did."""

    number: int | None = None

    def by(self, interrupt: KeyboardInterrupt) -> int | None:
        """What an interrupt came by. Ray makes one of its own out of that of the handler, without the number."""
        return next(iter(interrupt.args), self.number)


@contextmanager
def signals_interrupt(came: Came, *, outermost: bool) -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a sweep as Ctrl-C does: the finished trials kept, nothing left running.

    Once: a second signal would interrupt the ending. A signal that is ignored (as by nohup) stays so, but for the
    warning of a job, which its script ignores until a launch can take it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    signals = [number for number in INTERRUPTS if number == WARNING or signal.getsignal(number) is not signal.SIG_IGN]

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.number = number
        for other in signals:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items() if came.number is None or outermost else ():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
