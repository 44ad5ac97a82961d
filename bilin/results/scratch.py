"""Temporary files, which are removed in the end, also if the process is ended at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_in_use: set[Path] = set()


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Remove a file or folder in the end, if something has made it."""
    _in_use.add(path)
    try:
        yield path
    finally:
        _remove(path)
        _in_use.discard(path)


def remove_scratch() -> None:
    """Remove every temporary file of this process, which then must end."""
    for path in tuple(_in_use):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
