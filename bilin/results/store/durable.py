"""Files that survive a crash, and how to tell whether a file is the one that was written.

A reader sees a whole file or the one before it. A file whose bytes are not those that were written is damaged. A
file that the system does not let be read (no permission, a server that does not answer) is not damaged.
"""

from __future__ import annotations

import errno
import json
import os
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from bilin.errors import DamageWarning, StoreError
from bilin.folder import SweepFolder, partial_of

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException)
"""Exceptions that reading a file raises if its bytes are not those of its format."""

_FAULTS_OF_THE_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
"""System errors that mean a damaged file. All others concern the system, not the file."""

_CHUNK_BYTES = 1 << 20

_ADVICE = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room within your quota",
    errno.EROFS: "its file system is read-only: mount it for writing, or name another store with --store",
    errno.EACCES: "change its permissions, or name another store with --store",
    errno.EPERM: "change its permissions, or name another store with --store",
    errno.ESTALE: "its file server has replaced it: mount it again, or wait until the server is back",
    errno.ENOENT: "it was removed, or its disk is gone: restore it",
    errno.EIO: "its disk or file server fails: repair it, or move the file away, which loses its content",
}


@dataclass(frozen=True, slots=True)
class Checksum:
    """Size and CRC-32 of a file as it was written."""

    num_bytes: int
    crc32: int

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Return the checksum of the content of a file."""
        return cls(len(content), zlib.crc32(content))

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Return the checksum of a file, which is read in pieces."""
        num_bytes, crc32 = 0, 0
        with path.open("rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                num_bytes, crc32 = num_bytes + len(piece), zlib.crc32(piece, crc32)
        return cls(num_bytes, crc32)

    def fault(self, accepted: Sequence[Checksum]) -> str | None:
        """Return what is wrong with a file that has this checksum, or None. If none is accepted, any is."""
        if not accepted or self in accepted:
            return None
        if self.num_bytes in (each.num_bytes for each in accepted):
            return "is damaged (its checksum does not match)"
        return f"is damaged (found {self.num_bytes} bytes, expected {accepted[0].num_bytes})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A damaged file.

    Attributes:
        consequence: What is missing without the file, and whether it comes back.
        others: Further files that the writer sets aside with it, as far as they exist.
    """

    path: Path
    fault: str
    consequence: str
    others: tuple[Path, ...] = ()

    def warn(self, *, set_aside: bool = False) -> None:
        """Warn that the file is skipped, or that a writer has set it aside."""
        aside = f"; what remains of it is in {SweepFolder(self.path.parent).damaged}" if set_aside else ""
        warnings.warn(f"{self}{aside}", DamageWarning, stacklevel=2)

    def __str__(self) -> str:
        return f"{self.path} {self.fault}: {self.consequence}"


class DamageError(StoreError):
    """A damaged file without which nothing can be read."""

    def __init__(self, damage: Damage) -> None:
        self.damage = damage
        super().__init__(str(damage))


def checked_line(values: Mapping[str, Any]) -> bytes:
    """Return an object as a line of JSON that ends with the CRC-32 of what comes before it."""
    text = json.dumps(values)
    return f'{text[:-1]}, "crc32": {zlib.crc32(text.encode())}}}\n'.encode()


def read_lines(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the objects in a file of such lines, and the numbers of its damaged lines; none of a file that is missing.

    A line without a checksum is of an earlier version. A last line without an end was never completed.
    """
    found, damaged = [], []
    *lines, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            crc32 = values.pop("crc32", None)
        except UNREADABLE:
            values = crc32 = None
        if isinstance(values, dict) and crc32 in (None, zlib.crc32(json.dumps(values).encode())):
            found.append(values)
        else:
            damaged.append(number)
    return found, damaged


def damaged_lines(folder: SweepFolder, numbers: Sequence[int]) -> str:
    """Return what it means that some lines of the file of asked points are damaged."""
    lines = f"line{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
    return (
        f"{folder.asked} is damaged ({lines}): the points of stored trials count as asked, but a pruner compares those "
        "of lost rounds together"
    )


def replace_file(path: Path, content: bytes) -> None:
    """Write a file, or replace it, in one step; durable on return."""
    partial = partial_of(path)
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()  # a full disk needs the room
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
    """Turn system errors into messages that say what to do; `doing` is ``read`` or ``written``.

    Raises:
        StoreError: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        path = error.filename or directory
        advice = _ADVICE.get(error.errno or 0, "resolve this")
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"{path} cannot be {doing} ({reason}): {advice}, and run the same command again") from error


def file_fault(path: Path, accepted: Sequence[Checksum], *, thorough: bool = True) -> str | None:
    """Return what is wrong with a file, or None; see `Checksum.fault`.

    A check that is not thorough compares the size only.

    Raises:
        OSError: The system does not let the file be read, so nothing is known about it.
    """
    try:
        size = path.stat().st_size
        of_that_size = next((each for each in accepted if each.num_bytes == size), Checksum(size, 0))
        found = Checksum.of_file(path) if thorough and accepted else of_that_size
    except OSError as error:
        return read_fault(error)
    return found.fault(accepted)


def read_fault(error: Exception) -> str:
    """Return in one line what is wrong with a file that could not be read.

    Raises:
        OSError: The error concerns the system, not the file.
    """
    if isinstance(error, OSError) and error.errno:
        if error.errno not in _FAULTS_OF_THE_FILE:
            raise error
        return "is missing" if error.errno == errno.ENOENT else f"cannot be read ({os.strerror(error.errno)})"
    return f"cannot be read ({(str(error) or type(error).__name__).splitlines()[0]})"
