"""The right to write a sweep: a lock that the system drops when its process dies, and a lease for other machines."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from bilin.errors import StoreError, SweepRunningError, WaitWarning
from bilin.folder import SweepFolder
from bilin.results.store.holder import UNKNOWN, Holder, Lease, LeaseReading, read_lease

RENEW_S = 10.0
"""How often a writer renews its lease."""

LAPSE_S = 60.0
"""How long another process watches a lease that is not renewed before it takes the sweep over."""

_PATIENCE_S = 0.5
"""How long a writer waits for the lock: readers that ask for the holder take it for an instant."""

_POLL_S = 0.5
_SETTLE_S = 1.0
"""How long to wait after taking a lease over: if two processes did so, both then see whose it is."""

_NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP))
"""Errors of file systems that have no such locks, or whose lock server is down."""


class SweepLock:
    """The right to write a sweep, held from entry to exit.

    Warns:
        WaitWarning: On entry, if a process on another machine may still live; its lease is watched for a while.

    Raises:
        SweepRunningError: On entry, if a living process writes the sweep.
    """

    def __init__(self, folder: SweepFolder, command: str) -> None:
        self._folder = folder
        self._lease = Lease(folder, Holder.own(command))
        self._descriptor = -1
        self._ending = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="bilin-lease", daemon=True)

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._take_lease(is_locked=self._take_lock())
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
        """Check that no other process has taken the sweep over because this one seemed dead.

        Raises:
            StoreError: One has.
        """
        if taker := self._lease.taken_by():
            raise StoreError(
                f"sweep {self._folder.name!r} was taken over by {taker}: this process did not renew its lease for "
                f"{LAPSE_S:g} s, and stops writing"
            )

    def moved(self, folder: SweepFolder) -> None:
        """Take note that the sweep's folder was renamed, with the lock and the lease in it."""
        self._folder = folder
        self._lease.moved(folder)

    def _take_lock(self) -> bool:
        """Lock the file, and return whether it is locked: not if the file system has no locks."""
        deadline = time.monotonic() + _PATIENCE_S
        while (locked := _try_lock(self._descriptor, fcntl.LOCK_EX)) is False:
            if time.monotonic() > deadline:
                reading = read_lease(self._folder)
                raise self._refusal(reading.holder if reading else UNKNOWN)
            time.sleep(0.02)
        return bool(locked)

    def _take_lease(self, *, is_locked: bool) -> None:
        while not self._lease.create():
            before = read_lease(self._folder)
            if before is None:
                continue
            lives = False if before.is_copy else _lives(before.holder, is_free=is_locked)
            if lives:
                raise self._refusal(before.holder)
            if lives is None:
                self._watch(before)
            self._lease.remove()
            if lives is None:
                created = self._lease.create()
                time.sleep(_SETTLE_S)
                taker = self._lease.taken_by()
                if taker or not created:
                    self._lease.forget()
                    raise self._refusal(taker or UNKNOWN)
                return

    def _watch(self, before: LeaseReading) -> None:
        """Return if a lease is not renewed for a while, or is given back; raise if it is renewed."""
        warnings.warn(
            f"sweep {self._folder.name!r} may still be written by {before.holder}: if it does not answer for "
            f"{LAPSE_S:g} s, this process takes the sweep over",
            WaitWarning,
            stacklevel=2,
        )
        until = time.monotonic() + LAPSE_S
        while time.monotonic() < until and (now := read_lease(self._folder)):
            if now != before:
                raise self._refusal(now.holder)
            time.sleep(_POLL_S)

    def _renew(self) -> None:
        while not self._ending.wait(RENEW_S):
            with suppress(OSError):  # it tries again at the next renewal; until then, other processes wait
                self._lease.renew()

    def _refusal(self, holder: Holder) -> SweepRunningError:
        place = shlex.join([self._folder.name, "--store", str(self._folder.store)])
        return SweepRunningError(
            f"sweep {self._folder.name!r} is being written by {holder}: wait until it ends, watch it with "
            f"`bilin sweep watch {place}`, or cancel it with `bilin sweep cancel {place}`"
        )


def holder(store: Path | str, sweep: str) -> Holder | None:
    """Return the process that writes a sweep, unless it is known to be dead; None if there is none."""
    folder = SweepFolder.of(store, sweep)
    try:
        descriptor = os.open(folder.lock, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        is_free: bool | None = True
    else:
        try:
            is_free = _try_lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)
    reading = read_lease(folder)
    if is_free is False:
        return reading.holder if reading else UNKNOWN
    if reading is None or reading.is_copy or (lives := _lives(reading.holder, is_free=bool(is_free))) is False:
        return None
    return reading.holder if lives else replace(reading.holder, silent_s=max(reading.age_s, 1e-3))


def _lives(holder: Holder, *, is_free: bool) -> bool | None:
    """Return whether the writer of a lease lives; None if this machine cannot tell.

    `is_free` says whether the lock is known to be free. A system knows of the locks of its own processes.
    """
    process = holder.process
    if process.is_here:
        return process.is_alive and not (is_free and process.is_own)
    return False if is_free and process.shares_system else None


def _try_lock(descriptor: int, kind: int) -> bool | None:
    """Lock a file if it is free, and return whether it was; None if the file system has no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True
