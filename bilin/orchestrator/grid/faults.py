"""Collects the faults of a grid, so that all of them are reported at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bilin.errors import Fault, GridError, closest
from bilin.orchestrator.grid.yaml import Node

_LONGEST_NAME = 60


class Faults:
    """The faults found so far.

    A node that is used in several places (an alias, a default of several grids, a ``--set`` for all
    entries) is reported once.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._seen: set[tuple[object, ...]] = set()
        self._num_added = 0

    def __len__(self) -> int:
        """How many were added so far, those of a node that is used again too."""
        return self._num_added

    def add(self, node: Node | None, path: str, message: str, *, line: int | None = None, once: bool = False) -> None:
        """Add a fault.

        Args:
            node: What is at fault; None for what is not there.
            path: Where in the grid, such as ``models[1].rank``.
            message: What was found and what is accepted.
            line: Where it is not the node's own line.
            once: Whether one fault of the node is enough, though another message could be added.
        """
        self._num_added += 1
        fault = Fault(line=line or (node.line if node else None), path=path, message=message)
        key = (node, path.rpartition(".")[2], None if once else message) if node else (fault,)
        if key not in self._seen:
            self._seen.add(key)
            self._faults.append(fault)

    def raise_if_any(self, source: str) -> None:
        """Raise all faults, in the order of their lines.

        Raises:
            GridError: There are some.
        """
        if self._faults:
            raise GridError(source, sorted(self._faults, key=lambda fault: fault.line or 10**9))


def is_misspelt(name: str, keys: Iterable[str], names: Collection[str]) -> bool:
    """Whether one of the keys that are no valid names seems to mean ``name``, which then is not missing too."""
    return any(closest(key, names) == name for key in keys if key not in names)


def shorten(text: str) -> str:
    """The text on one line, cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
