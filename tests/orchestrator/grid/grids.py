"""Short grids, and what the reader says of them."""

from __future__ import annotations

from collections.abc import Sequence

from bilin.errors import GridError
from bilin.orchestrator.grid import Grid, parse_grid

HEAD = "name: short\ntasks: [{name: modular_addition, m: 2}]\nmodels: [{tier: full}]\n"
"""A grid with all that is required, on three lines."""


def short(more: str = "", *, overrides: Sequence[str] = (), only: Sequence[str] = ()) -> Grid:
    """The short grid with more lines below it."""
    return parse_grid(HEAD + more, overrides=overrides, only=only)


def faults(text: str, *, overrides: Sequence[str] = (), only: Sequence[str] = ()) -> list[str]:
    """The faults of a whole grid, each as it is printed; none for a grid that is read."""
    try:
        parse_grid(text, overrides=overrides, only=only)
    except GridError as error:
        return [str(fault) for fault in error.faults]
    return []


def fault(text: str, *, overrides: Sequence[str] = (), only: Sequence[str] = ()) -> str:
    """The one fault of a grid."""
    (message,) = faults(text, overrides=overrides, only=only)
    return message


def short_fault(more: str) -> str:
    """The one fault of the short grid with more lines below it."""
    return fault(HEAD + more)
