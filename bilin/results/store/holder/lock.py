"""Only one process writes a sweep: a lock that the system drops when its holder dies, and a lease beside it."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bilin.errors import StoreError, SweepRunningError, WaitWarning
from bilin.results.store.holder import lease
from bilin.results.store.holder.lease import UNKNOWN, Holder, Lease, Seen, read_lease, silent
from bilin.results.store.paths import sweep_directory

_LOCK = "lock"
_PATIENCE_S = 0.5
"""A look at who holds the lock takes it for an instant; a writer waits that long before it gives up."""

_LOOK_S = 0.5
_SETTLE_S = 1.0
"""Two that take a lease at once: after that long both see whose it is."""

_NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP))
"""What file systems say that have no such locks, or whose server for them is down."""


class SweepLock:
    """The right to write a sweep, held from entry to exit.

    Warns:
        WaitWarning: On entry, where a process on another machine may have left a lease; it is watched for a while.

    Raises:
        SweepRunningError: On entry, where a living process has it.
    """

    def __init__(self, directory: Path, command: str) -> None:
        self._directory = directory
        self._lease = Lease(directory, Holder.own(command))
        self._descriptor = -1
        self._ending = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="bilin-lease", daemon=True)

    def __enter__(self) -> Self:
        self._descriptor, is_locked = _lock(self._directory)
        try:
            self._take_lease(is_locked)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._renewer.join()
        self._lease.close()
        os.close(self._descriptor)

    def check(self) -> None:
        """Raise where another process has taken the sweep, since this one seemed dead.

        Raises:
            StoreError: It has.
        """
        if taker := self._lease.taken_by():
            raise StoreError(
                f"sweep {self._directory.name!r} was taken over by {taker}: from this process nothing had been heard "
                f"for {lease.LAPSE_S:g} s, and it writes no more"
            )

    def _take_lease(self, is_locked: bool) -> None:
        while not self._lease.create():
            before = read_lease(self._directory)
            if before is None:
                continue
            lives = _lives(before.holder, is_free=is_locked)
            if lives:
                raise SweepRunningError(_refusal(self._directory, before.holder))
            if lives is None:
                self._watch(before)
            self._lease.remove()
            if lives is None:
                self._settle()
                return

    def _watch(self, before: Seen) -> None:
        """Return when a lease was not renewed for a while; raises where it is."""
        warnings.warn(
            f"{before.holder} had sweep {self._directory.name!r} and may be dead: it is watched for "
            f"{lease.LAPSE_S:g} s, and the sweep taken over if nothing is heard of it",
            WaitWarning,
            stacklevel=2,
        )
        until = time.monotonic() + lease.LAPSE_S
        while time.monotonic() < until and (now := read_lease(self._directory)):
            if now != before:
                raise SweepRunningError(_refusal(self._directory, now.holder))
            time.sleep(_LOOK_S)

    def _settle(self) -> None:
        created = self._lease.create()
        time.sleep(_SETTLE_S)
        taker = self._lease.taken_by()
        if taker or not created:
            self._lease.forget()
            raise SweepRunningError(_refusal(self._directory, taker or UNKNOWN))

    def _renew(self) -> None:
        while not self._ending.wait(lease.RENEW_S):
            with suppress(OSError):  # what it cannot write now it may be able to later; until then others wait
                self._lease.renew()


def holder(store: Path | str, sweep: str) -> Holder | None:
    """The process that writes a sweep, unless it is known to be dead; None where there is none."""
    directory = sweep_directory(store, sweep)
    is_free = _is_free(directory)
    seen = read_lease(directory)
    if is_free is False:
        return seen.holder if seen else UNKNOWN
    if seen is None or (lives := _lives(seen.holder, is_free=bool(is_free))) is False:
        return None
    return seen.holder if lives else silent(seen)


def _lives(holder: Holder, *, is_free: bool) -> bool | None:
    """Whether a lease's writer lives; None where that cannot be told from here.

    Args:
        holder: The writer.
        is_free: Whether the lock is known to be free: the system that a process runs on knows of its locks.
    """
    process = holder.process
    if process.is_here:
        return process.is_alive and not (is_free and process.is_own)
    return False if is_free and process.shares_system else None


def _lock(directory: Path) -> tuple[int, bool]:
    """A descriptor of the lock's file, and whether it is locked: not so where the file system has no locks.

    Raises:
        SweepRunningError: Another process has it.
    """
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        locked = _wait_for_lock(descriptor, directory)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, locked


def _wait_for_lock(descriptor: int, directory: Path) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while (locked := _try_lock(descriptor, fcntl.LOCK_EX)) is False:
        if time.monotonic() > deadline:
            seen = read_lease(directory)
            raise SweepRunningError(_refusal(directory, seen.holder if seen else UNKNOWN))
        time.sleep(0.02)
    return bool(locked)


def _is_free(directory: Path) -> bool | None:
    """Whether nobody holds the lock, as far as the file system knows; None where it has no locks."""
    try:
        descriptor = os.open(directory / _LOCK, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return True
    try:
        return _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool | None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _refusal(directory: Path, holder: Holder) -> str:
    place = shlex.join([directory.name, "--store", str(directory.parent)])
    return (
        f"sweep {directory.name!r} is being written by {holder}: `bilin sweep watch {place}` shows how it goes, "
        f"`bilin sweep cancel {place}` ends it; or wait until it ends, and try again"
    )
