"""Only one process writes a sweep: a lock that the system drops when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from bilin.errors import SweepRunningError
from bilin.results.store.paths import sweep_directory

_LOCK = "lock"
_PATIENCE_S = 0.5
"""A look at who holds the lock takes it for an instant; a writer waits that long before it gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that writes a sweep."""

    host: str
    pid: int
    started_at: str
    command: str


class SweepLock:
    """The lock of a sweep's folder, held from entry to exit.

    Raises:
        SweepRunningError: On entry, where a living process holds it.
    """

    def __init__(self, directory: Path, command: str) -> None:
        self._directory = directory
        self._command = command
        self._descriptor = -1

    def __enter__(self) -> Self:
        descriptor = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        deadline = time.monotonic() + _PATIENCE_S
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                content = os.pread(descriptor, 65536, 0)
                os.close(descriptor)
                raise SweepRunningError(_refusal(self._directory.name, _parse(content)))
            time.sleep(0.02)
        self._descriptor = descriptor
        try:
            self._say(self._holder())
        except OSError:
            os.close(descriptor)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # who held it is said only while it is held
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def _holder(self) -> Holder:
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        return Holder(host=socket.gethostname(), pid=os.getpid(), started_at=started_at, command=self._command)

    def _say(self, holder: Holder) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(asdict(holder)).encode(), 0)


def holder(store: Path | str, sweep: str) -> Holder | None:
    """The living process that writes a sweep; None where there is none."""
    directory = sweep_directory(store, sweep)
    try:
        descriptor = os.open(directory / _LOCK, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if _try_lock(descriptor, fcntl.LOCK_SH):
            return None
        return _parse(os.pread(descriptor, 65536, 0))
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parse(content: bytes) -> Holder:
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError):  # caught between taking the lock and saying so
        return Holder(host="an unknown host", pid=0, started_at="just now", command="unknown")


def _refusal(sweep: str, holder: Holder) -> str:
    return (
        f"sweep {sweep!r} is being written by process {holder.pid} on {holder.host} since {holder.started_at} "
        f"({holder.command}): wait until it ends, or stop it with Ctrl-C or `kill {holder.pid}` there, and try again"
    )
