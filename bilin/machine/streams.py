"""The standard streams of this process: one that cannot fail, one that remembers how it failed, and closed ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class UnfailingStream:
    """A stream over another one. What cannot be written is lost without an error, and nobody can close it.

    A full disk or a broken pipe behind standard error must end neither a sweep nor a trial, and code that closes
    standard output must not close it for the code after it.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, content: Any) -> int:
        """Write text, or bytes to a binary stream."""
        with suppress(OSError, ValueError):  # ValueError: a closed stream, or text that its encoding lacks
            self._stream.write(content)
        return len(content)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is buffered."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def close(self) -> None:
        """Write what is buffered. The stream stays open."""
        self.flush()

    def detach(self) -> Any:
        """Return the binary stream, which stays attached."""
        return self.buffer

    @property
    def buffer(self) -> Any:
        """The binary stream, which cannot fail either."""
        return UnfailingStream(self._stream.buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class WatchedStream:
    """A stream over another one. It raises what keeps it from being written, and remembers it.

    Attributes:
        errors: What kept it from being written.
    """

    def __init__(self, stream: Any, errors: list[OSError] | None = None) -> None:
        self.errors: list[OSError] = [] if errors is None else errors
        self._stream = stream

    def write(self, content: Any) -> Any:
        """Write text, or bytes to a binary stream."""
        with self._remembered():
            return self._stream.write(content)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._remembered():
            self._stream.flush()

    @property
    def buffer(self) -> Any:
        """The binary stream, whose errors are remembered too."""
        return WatchedStream(self._stream.buffer, self.errors)

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.errors.append(error)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def occupy_closed_descriptors() -> None:
    """Open the standard descriptors that are closed, in a way in which writing fails.

    Otherwise the next files that are opened, such as those of a store, would get their numbers, and everything that is
    printed would go into these files.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest free number: this one
