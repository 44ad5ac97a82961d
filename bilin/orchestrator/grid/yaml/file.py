"""Reads a file that should hold text, whatever it turns out to be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bilin.orchestrator.grid.yaml.events import MAX_CHARACTERS, UnreadableError

MAX_BYTES = MAX_CHARACTERS


def read_text(path: Path) -> str:
    """The text of a regular file of at most `MAX_BYTES`.

    Raises:
        UnreadableError: There is no such file, or it is something else; nothing of it was read.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableError(None, "is a directory; give the path of a grid.yaml")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise UnreadableError(None, "is not a regular file; give the path of a grid.yaml")
        if status.st_size > MAX_BYTES:
            raise UnreadableError(None, f"has {status.st_size:,} bytes; a grid has at most {MAX_BYTES:,}")
        with path.open("rb") as file:
            return decode(file.read(MAX_BYTES + 1))
    except FileNotFoundError as error:
        raise UnreadableError(None, "there is no such file" + _hint(path)) from error
    except OSError as error:
        raise UnreadableError(None, f"cannot be read: {os.strerror(error.errno or 0)}") from error
    except ValueError as error:
        raise UnreadableError(None, f"is no path: {error}") from error


def decode(data: bytes) -> str:
    """The text of UTF-8 bytes.

    Raises:
        UnreadableError: They are something else.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(line, f"found the byte 0x{data[error.start]:02x}; a grid is text in UTF-8") from error


def _hint(path: Path) -> str:
    try:
        grids = sorted(file.name for file in path.parent.iterdir() if file.suffix in (".yaml", ".yml"))
    except OSError:
        return ""
    return f"; beside it there is {', '.join(grids[:5])}" if grids else ""
