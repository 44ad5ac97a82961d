"""Whether a file is what was written, and what to say where it is not."""

from __future__ import annotations

import errno
import os
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bilin.errors import DamageWarning, StoreError

ASIDE = "damaged"
"""The folder of a sweep in which damaged files are kept; nothing there is read, and nothing is removed."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException)
"""What is raised where the bytes of a file are not those of its format."""

_OF_THE_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
"""Errors of one file; others, such as a right that is missing or a server that does not answer, are no damage."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Checksum:
    """By what a file is known to be the one that was written."""

    num_bytes: int
    crc32: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A file that is not what was written.

    Attributes:
        path: The file.
        what: What is wrong with it.
        read: What readers do, and what to expect of the next launch.
        mended: What became of it once a writer has taken it out.
        files: What is set aside then, where it is there.
    """

    path: Path
    what: str
    read: str
    mended: str
    files: tuple[Path, ...]

    def warn_read(self) -> None:
        """Say that it is left out."""
        warnings.warn(f"{self}: {self.read}", DamageWarning, stacklevel=2)

    def warn_mended(self) -> None:
        """Say that it was taken out of the sweep."""
        kept = f"; what is left of it is in {self.path.parent / ASIDE}"
        warnings.warn(f"{self}: {self.mended}{kept}", DamageWarning, stacklevel=2)

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


class DamageError(StoreError):
    """A file that cannot be used, where nothing can be read without it."""

    def __init__(self, damage: Damage) -> None:
        self.damage = damage
        super().__init__(f"{damage}: {damage.read}")


def checksum(content: bytes) -> Checksum:
    """The checksum of what is about to be written, or was read."""
    return Checksum(len(content), zlib.crc32(content))


def checksum_of(path: Path) -> Checksum:
    """The checksum of a file, read in pieces."""
    num_bytes, crc32 = 0, 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            num_bytes, crc32 = num_bytes + len(piece), zlib.crc32(piece, crc32)
    return Checksum(num_bytes, crc32)


def fault(path: Path, accepted: Sequence[Checksum], *, thorough: bool = True) -> str | None:
    """What is wrong with a file; None where nothing is.

    Args:
        path: The file.
        accepted: The checksums that it may have; none known accepts any file that is there.
        thorough: Read it; else its size alone is held against them.

    Raises:
        OSError: The system does not let it be read, which says nothing of the file.
    """
    try:
        if not thorough or not accepted:
            size = path.stat().st_size
            return _mismatch(size, accepted)
        found = checksum_of(path)
    except OSError as error:
        return unreadable(error)
    return None if found in accepted else _mismatch(found.num_bytes, accepted) or _CHANGED


def mismatch(content: bytes, accepted: Sequence[Checksum]) -> str | None:
    """What is wrong with the content of a file, as `fault` says it."""
    if not accepted or checksum(content) in accepted:
        return None
    return _mismatch(len(content), accepted) or _CHANGED


def unreadable(error: Exception) -> str:
    """What is wrong with a file that raised an error, in a line; an error that is none of the file is raised again."""
    if isinstance(error, OSError) and error.errno:
        if error.errno not in _OF_THE_FILE:
            raise error
        return "is missing" if error.errno == errno.ENOENT else f"cannot be read ({os.strerror(error.errno)})"
    return f"cannot be read ({(str(error) or type(error).__name__).splitlines()[0]})"


_CHANGED = "is damaged (its bytes are not those that were written)"


def _mismatch(size: int, accepted: Sequence[Checksum]) -> str | None:
    sizes = [each.num_bytes for each in accepted]
    return None if not sizes or size in sizes else f"is damaged (it has {size} bytes, and {sizes[0]} were written)"
