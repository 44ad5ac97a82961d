"""Writing that survives a crash: a reader sees the whole file or the one before it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bilin.errors import StoreError

BESIDE = ".new"
"""Suffix of a file that is being written and will replace the one without it."""

_ADVICE = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room within your quota",
    errno.EROFS: "its file system is read-only: mount it for writing, or name another store with --store",
    errno.EACCES: "see that you may, or name another store with --store",
    errno.EPERM: "see that you may, or name another store with --store",
    errno.ESTALE: "its file server has replaced what was there: mount it again, or wait until it is back",
    errno.ENOENT: "it was removed, or its disk is gone: bring it back",
    errno.EIO: "its disk or file server fails: mend that, or move the file away, which gives up what it holds",
}


def replace_file(path: Path, content: bytes) -> None:
    """Put content at a path in one step, durable on return."""
    beside = path.with_name(path.name + BESIDE)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()  # a disk that is full needs the room
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or a directory's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(directory: Path, doing: str) -> Iterator[None]:
    """Say what to do where the system refuses.

    Args:
        directory: What is read or written, where the system names no file.
        doing: ``read`` or ``written``.

    Raises:
        StoreError: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        path = error.filename or directory
        advice = _ADVICE.get(error.errno or 0, "mend it")
        said = os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"{path} cannot be {doing} ({said}): {advice}, and run the same command again") from error
