"""Ctrl-C while a query computes: the process ends at once, whatever it is doing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ends_at_once() -> Iterator[None]:
    """End the process as soon as it is interrupted, without waiting for code that does not return to Python.

    A separate thread waits for the signals, removes temporary files and ends the process with 128 and the number of
    the signal, as shells do: 130 for Ctrl-C. Threads that start in this context do not get the signals.
    """
    is_over = threading.Event()

    def wait() -> None:
        number = signal.sigwait(_SIGNALS)
        if not is_over.is_set():
            from bilin.results import remove_scratch

            remove_scratch()
            os._exit(128 + number)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    thread = threading.Thread(target=wait, name="bilin-interrupt", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        if thread.is_alive() and thread.ident is not None:
            signal.pthread_kill(thread.ident, signal.SIGINT)
        thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
