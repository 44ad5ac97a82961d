"""The output of a trial that runs in the launching process, into its file and to where it went before."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from bilin.workers.output.files import KEPT_BYTES, open_log, shorten


@contextmanager
def copied(path: Path) -> Iterator[None]:
    """Have what Python code prints go to a file too, which is made when something is printed."""
    log = _Log(path)
    try:
        with redirect_stdout(_Both(sys.stdout, log)), redirect_stderr(_Both(sys.stderr, log)):
            yield
    finally:
        log.close()


class _Log:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def write(self, text: str) -> None:
        with suppress(OSError):  # a disk that is full is for the results to say
            if self._file < 0:
                self._path.parent.mkdir(exist_ok=True)
                self._file = open_log(self._path)
            os.write(self._file, text.encode(errors="backslashreplace"))
            shorten(self._file, 2 * KEPT_BYTES)

    def close(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                shorten(self._file, KEPT_BYTES)
            os.close(self._file)
            self._file = -1


class _Both:
    """A stream of text whose writes go to a log first; all else is the stream's."""

    def __init__(self, stream: Any, log: _Log) -> None:
        self._stream = stream
        self._log = log

    def write(self, text: str) -> Any:
        self._log.write(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
