"""Writing that survives a crash: a reader sees the whole file or the one before it."""

from __future__ import annotations

import os
from pathlib import Path

BESIDE = ".new"
"""Suffix of a file that is being written and will replace the one without it."""


def replace_file(path: Path, content: bytes) -> None:
    """Put content at a path in one step, durable on return."""
    beside = path.with_name(path.name + BESIDE)
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or a directory's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
