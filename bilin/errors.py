"""All errors of bilin, each with the exit code of the command line.

    BilinError                  1   an error in bilin itself
    ├── InputError              2   wrong input: nothing was run, nothing was written
    │   ├── GridError               all errors of a grid file
    │   ├── QueryError              a query that cannot be answered
    │   ├── StoreError              a store, sweep or trial that does not exist or cannot be read
    │   ├── PluginError             a task or tier of another package that cannot be used
    │   └── SweepRunningError       another process is running this sweep
    ├── InterruptedSweepError   3   stopped before the end; the same launch continues the sweep
    └── ClusterError            4   the machines that should run the trials cannot be used

Every message says what was found, what is accepted, and what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bilin.units import plural

CTRL_C_EXIT_CODE = 130
"""Exit code of Typer if a command does not handle Ctrl-C. `bilin` ends with that of `InterruptedSweepError` instead."""

_LONGEST_NAME = 60

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
"""What a terminal obeys instead of showing it, such as colours and titles of windows."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class BilinError(Exception):
    """Base class of all errors that bilin raises on purpose."""

    exit_code = 1


class InputError(BilinError):
    """The input is wrong; nothing was run and nothing was written."""

    exit_code = 2


class DamageWarning(UserWarning):
    """A file of a store is damaged. It was skipped or moved aside; everything else is unchanged."""


class WaitWarning(UserWarning):
    """Something takes a while, and will continue by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One error in a grid.

    Attributes:
        line: Line in the file, from 1; None if there is no line (a missing file, a value from the command line).
        path: Place in the document, as in ``models[1].rank``; empty for the document itself.
        message: What was found, what is accepted, and the nearest valid name if there is one.
    """

    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class GridError(InputError):
    """A grid that cannot be planned, with all its errors."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__(
            "\n".join([f"{source}: {plural(len(self.faults), 'error')}", *(f"  {fault}" for fault in self.faults)])
        )


class QueryError(InputError):
    """A query that cannot be answered."""


class StoreError(InputError):
    """A store, sweep or trial that does not exist or cannot be read."""


class PluginError(InputError):
    """A task or tier of another package that cannot be used."""


class SweepRunningError(InputError):
    """Another process is running this sweep."""


class InterruptedSweepError(BilinError):
    """The sweep was stopped early; the same launch continues it.

    Attributes:
        signal: Number of the signal that stopped it; None if something else did.
    """

    exit_code = 3

    def __init__(self, message: str, *, signal: int | None = None) -> None:
        self.signal = signal
        super().__init__(message)


class ClusterError(BilinError):
    """The machines that should run the trials cannot be used."""

    exit_code = 4


def one_line(error: BaseException) -> str:
    """Return the type and text of an error without line breaks, as stored in a row."""
    return plain(" ".join(f"{type(error).__name__}: {text_of(error)}".split()))


def text_of(error: BaseException) -> str:
    """Return the text of an error, also of one whose `__str__` raises: its class may come from any package."""
    try:
        return str(error)
    except BaseException as fault:
        return f"its message raises {type(fault).__name__}"


def printable(text: str) -> str:
    """Escape what cannot be encoded, for example in file names."""
    return text.encode(errors="backslashreplace").decode()


def plain(text: str) -> str:
    """Return a text without colours, and with every other character escaped that is neither visible nor a space."""
    return printable(_CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", _SEQUENCE.sub("", text)))


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the valid name nearest to ``name``; None if none is near."""
    if len(name) > _LONGEST_NAME:
        return None
    return next(iter(difflib.get_close_matches(name, sorted(names), n=1)), None)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint at the nearest valid name, for a message; empty if none is near."""
    near = closest(name, names)
    return f" (did you mean {near}?)" if near else ""


def unknown(what: str, name: str, names: Iterable[str]) -> str:
    """Return the message for a name that is none of the accepted ones."""
    accepted = list(names)
    return f"no {what} {name!r}{nearest(name, accepted)}; accepted: {', '.join(accepted)}"
