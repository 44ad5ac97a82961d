"""Restores what other people's code may change in this process. Standard library only."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from bilin.machine.streams import UnfailingStream

_INPUTS = ("stdin", "__stdin__")
_OUTPUTS = ("stdout", "stderr", "__stdout__", "__stderr__")


@contextmanager
def restored() -> Iterator[None]:
    """Restore the process at the end: streams, folder, environment, warning filters, and settings of Python.

    Signal handlers and timers are in `bilin.workers.isolation`, which tells a user's interrupt from others. Threads
    that are left running cannot be ended: they are named on standard error.
    """
    with ExitStack() as stack:
        stack.enter_context(_standard_streams())
        stack.enter_context(warnings.catch_warnings())
        for read, write in _SETTINGS:
            stack.enter_context(_setting(read, write))
        stack.enter_context(_threads_named())
        yield


@contextmanager
def _setting(read: Callable[[], Any], write: Callable[[Any], object]) -> Iterator[None]:
    """Restore one setting, if it can be read and was changed."""
    try:
        before = read()
    except OSError:  # a folder that was removed, or a system without /proc
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            if _differs(read, before):
                write(before)


def _differs(read: Callable[[], Any], before: Any) -> bool:
    """Return whether a setting has changed; one that can no longer be read has."""
    try:
        return bool(read() != before)
    except OSError:
        return True


@contextmanager
def _standard_streams() -> Iterator[None]:
    """Restore the streams and their descriptors. Meanwhile the streams cannot be closed, and do not fail."""
    streams = {name: getattr(sys, name) for name in (*_INPUTS, *_OUTPUTS)}
    descriptors = {}
    for number in (0, 1, 2):
        with suppress(OSError):  # closed
            descriptors[number] = os.dup(number)
    for name in _OUTPUTS:
        if streams[name] is not None:
            setattr(sys, name, UnfailingStream(streams[name]))
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr, streams["stdout"], streams["stderr"]):
            with suppress(Exception):  # whatever object was put there
                stream.flush()
        for number, copy in descriptors.items():
            with suppress(OSError):
                os.dup2(copy, number)
                os.close(copy)
        for name, stream in streams.items():
            setattr(sys, name, stream)


@contextmanager
def _threads_named() -> Iterator[None]:
    """Name the threads that are left running."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        new = [thread for thread in threading.enumerate() if thread not in before]
        left = [thread.name for thread in new if not thread.name.startswith("Dummy-")]  # those of Ray
        if left:
            print(f"{len(left)} threads are left running: {', '.join(left)}", file=sys.stderr)


def _umask() -> int:
    """Return the mask of new files. Asking the system would change it for a moment, also for other threads."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _set_hooks(hooks: tuple[Any, Any, Any]) -> None:
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks


def _logging() -> tuple[Any, int, int]:
    return list(logging.root.handlers), logging.root.level, logging.root.manager.disable


def _set_logging(settings: tuple[Any, int, int]) -> None:
    logging.root.handlers[:], level, disabled = settings
    logging.root.setLevel(level)
    logging.disable(disabled)


_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (os.getcwd, os.chdir),
    (lambda: dict(os.environ), _set_environment),
    (_umask, os.umask),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (sys.getswitchinterval, sys.setswitchinterval),
    (lambda: (sys.excepthook, sys.unraisablehook, threading.excepthook), _set_hooks),
    (gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
    (socket.getdefaulttimeout, socket.setdefaulttimeout),
    (
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        lambda mask: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
    ),
    (_logging, _set_logging),
)
"""How a setting is read and written."""
