"""Values of a grid with their paths, and the collection of their faults, so that all are reported at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bilin.errors import Fault, GridError, closest, nearest
from bilin.orchestrator.grid.yaml import YamlNode, shorten


class Faults:
    """The faults found so far.

    A node that is used in several places (an alias, a default of several documents, a ``--set`` for all entries) is
    reported once.
    """

    def __init__(self) -> None:
        self._faults: dict[object, Fault] = {}
        self._num_added = 0

    def __len__(self) -> int:
        """Return how many faults were added, with those that were reported before."""
        return self._num_added

    def add(self, fault: Fault, key: object = None) -> None:
        """Add a fault, unless one with the same key is there."""
        self._num_added += 1
        self._faults.setdefault(key or fault, fault)

    def raise_if_any(self, source: str) -> None:
        """Raise all faults, in the order of their lines.

        Raises:
            GridError: There are some.
        """
        if self._faults:
            raise GridError(source, sorted(self._faults.values(), key=lambda fault: fault.line or 10**9))


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a grid, and what is written there.

    Attributes:
        node: The value; None if nothing is written.
        path: The path from the top, such as ``models[1].rank``.
        faults: Collects what is wrong with it.
        parent: The mapping that it belongs to. Its line stands for that of a value that is missing.
    """

    node: YamlNode | None
    path: str
    faults: Faults
    parent: YamlNode | None = None

    @property
    def entries(self) -> Mapping[str, YamlNode]:
        """The entries of a mapping; none for any other value."""
        return self.node.entries if self.node else {}

    def key(self, name: str) -> Place:
        """Return the place of an entry, written or not."""
        return Place(self.entries.get(name), f"{self.path}.{name}" if self.path else name, self.faults, self.node)

    def items(self) -> list[Place]:
        """Return the places of the items of a list; none for any other value."""
        items = self.node.items if self.node else ()
        return [Place(item, f"{self.path}[{index}]", self.faults) for index, item in enumerate(items)]

    def fault(self, message: str, *, line: int | None = None, once: bool = False) -> None:
        """Add a fault of this place.

        Args:
            message: What was found and what is accepted.
            line: Its line, if that is not the line of the value.
            once: Whether one fault is enough for the value, even if another message could be added.
        """
        node = self.node or self.parent
        fault = Fault(line=line or (node.line if node else None), path=self.path, message=message)
        self.faults.add(fault, (node, self.path.rpartition(".")[2], None if once else message) if node else None)

    def refuse(self, accepted: str, hint: str = "") -> None:
        """Add a fault that says what was found here and what is accepted."""
        self.fault(f"found {self.node}{hint}; accepted: {accepted}" if self.node else f"missing; accepted: {accepted}")

    def listed(self, accepted: str, *, may_be_empty: bool = False) -> list[Place]:
        """Return the items of a list; add a fault for any other value."""
        if self.node and not (self.node.is_list and (may_be_empty or self.node.items)):
            self.refuse(accepted)
        return self.items()

    def is_mapping(self) -> bool:
        """Return whether a mapping or nothing is written here; add a fault for any other value."""
        if self.node is None or self.node.is_mapping:
            return True
        self.refuse("a mapping, such as {key: value}")
        return False

    def check_keys(self, names: Sequence[str], remarks: Mapping[str, str] | None = None) -> None:
        """Add a fault for each key that is not one of the names; ``remarks`` say more of some keys."""
        for key in self.entries:
            if self.node and key not in names:
                message = unknown_name("key", key, names, (remarks or {}).get(key, ""))
                self.key(key).fault(message, line=self.node.key_lines[key])

    def is_misspelt(self, name: str, names: Collection[str]) -> bool:
        """Return whether a key that is not one of the names seems to mean ``name``, which then is not missing."""
        return any(closest(key, names) == name for key in self.entries if key not in names)


def unknown_name(what: str, name: str, names: Collection[str], remark: str = "") -> str:
    """Return the message for an unknown name, with a remark on it or the nearest known name."""
    return f'unknown {what} "{shorten(name)}"{remark or nearest(name, names)}; accepted: {", ".join(names)}'
