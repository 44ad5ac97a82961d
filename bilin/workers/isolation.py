"""The code of trials in a process that runs more than this code: what it may change, and whose errors it raises.

The code of a tier or task may come from any package. Whatever it raises, even a `KeyboardInterrupt`, is a failure of
its trial, and whatever it changes in its process is restored after it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bilin.machine.process import restored

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Isolation:
    """Distinguishes what the code of trials raises from what the handlers of signals raise while it runs.

    A user's interrupt counts, also if a trial's code catches it.

    Attributes:
        is_interrupted: Whether the handler of a signal has raised something.
    """

    def __init__(self) -> None:
        self.is_interrupted = False
        self._raised: BaseException | None = None

    def handler(self, handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        """Return a signal handler that calls another one, and notes what that raises."""

        def handle(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                self._raised, self.is_interrupted = error, True
                raise

        return handle

    def raise_from_others(self) -> None:
        """Raise what a handler has raised since the beginning, if one has."""
        if self._raised is not None:
            raise self._raised


@contextmanager
def isolated() -> Iterator[Isolation]:
    """Run the code of trials, then restore the process and raise what handlers of signals have raised meanwhile."""
    isolation = Isolation()
    with restored(), _signal_handlers(isolation), _timers():  # a timer must not outlive the handler of its signal
        yield isolation
        isolation.raise_from_others()


@contextmanager
def _signal_handlers(isolation: Isolation) -> Iterator[None]:
    """Note what signal handlers raise, and restore the handlers. Only the main thread has any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    noting = {number: isolation.handler(old) for number, old in before.items() if callable(old)}
    for number, handler in noting.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            current = signal.getsignal(number)
            # The handler of an interrupt may have set other handlers, for the time until the process ends.
            is_due = current is noting.get(number) if isolation.is_interrupted else current is not old
            if is_due and old is not None:
                signal.signal(number, old)


@contextmanager
def _timers() -> Iterator[None]:
    """Restore the timers that send signals, less the time that has passed."""
    before = {timer: signal.getitimer(timer) for timer in _TIMERS}
    began = time.monotonic()
    try:
        yield
    finally:
        passed_s = time.monotonic() - began
        for timer, (left_s, period_s) in before.items():
            signal.setitimer(timer, max(left_s - passed_s, 1e-3) if left_s else 0.0, period_s)
