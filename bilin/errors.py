"""The one tree of errors; each carries the exit code that the command line ends with.

    BilinError                  1   something went wrong in bilin itself
    ├── InputError              2   the user's input: nothing was run, nothing was written
    │   ├── GridError               every fault of a grid file, at once
    │   ├── QueryError              a query that cannot be answered as asked
    │   ├── StoreError              a store or sweep that is not there or cannot be read
    │   ├── PluginError             a task or tier of another package that cannot be used
    │   └── SweepRunningError       another process writes this sweep
    ├── InterruptedSweepError   3   stopped before the end; the same launch goes on
    └── ClusterError            4   the machines that should run the trials do not

Every message says what was found, what is accepted, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LONGEST_NAME = 60


class BilinError(Exception):
    """Base of all errors that bilin raises on purpose."""

    exit_code = 1


class InputError(BilinError):
    """The user's input is wrong; nothing was run and nothing was written."""

    exit_code = 2


class DamageWarning(UserWarning):
    """A file of a store is damaged: it was left out, or set aside, and everything else is as it was."""


class WaitWarning(UserWarning):
    """Something takes a while, and goes on by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a grid.

    Attributes:
        line: Line in the file, from 1; None where there is no line (a file that is missing, a value
            from the command line).
        path: Where in the document, such as ``models[1].rank``; empty for the document itself.
        message: What was found, what is accepted, and the nearest valid name if there is one.
    """

    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class GridError(InputError):
    """A grid that cannot be planned; carries every fault that was found."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {fault}" for fault in self.faults)]))


class QueryError(InputError):
    """A query that cannot be answered as asked."""


class StoreError(InputError):
    """A store, sweep or trial that is not there or cannot be read."""


class PluginError(InputError):
    """A task or tier that another package declares, and that cannot be used."""


class SweepRunningError(InputError):
    """Another process is running this sweep."""


class InterruptedSweepError(BilinError):
    """The sweep was stopped before its end; the same launch goes on.

    Attributes:
        signal: The number of the signal that stopped it; None where it was something else.
    """

    exit_code = 3

    def __init__(self, message: str, *, signal: int | None = None) -> None:
        self.signal = signal
        super().__init__(message)


class ClusterError(BilinError):
    """The machines that should run the trials cannot be used."""

    exit_code = 4


def one_line(error: BaseException) -> str:
    """An error as a row names it: its type, and its text without line breaks."""
    try:
        text = str(error)
    except Exception as fault:  # of a class of somebody else's
        text = f"its text cannot be made ({type(fault).__name__})"
    return printable(" ".join(f"{type(error).__name__}: {text}".split()))


def printable(text: str) -> str:
    """The text, with what cannot be encoded (such as parts of odd file names) escaped."""
    return text.encode(errors="backslashreplace").decode()


def closest(name: str, names: Iterable[str]) -> str | None:
    """The valid name nearest to ``name``; None where none is near."""
    if len(name) > _LONGEST_NAME:
        return None
    return next(iter(difflib.get_close_matches(name, sorted(names), n=1)), None)


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint at the nearest valid name, for a message; empty where none is near."""
    near = closest(name, names)
    return f" (did you mean {near}?)" if near else ""
