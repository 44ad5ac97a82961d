"""A value of a grid: what is written, where, and what is wrong with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from bilin.errors import Fault, GridError, closest, nearest
from bilin.fields import Scalar

LARGEST = 2**63 - 1
"""The greatest whole number that a column of the results can hold."""

MAX_DIGITS = 30
"""Greatest number of digits of a whole number that is read, or named in a message."""

MAX_DEPTH = 20

WHOLE_NUMBERS = f"whole numbers from -{LARGEST} to {LARGEST}"
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep; a grid needs no more than 6"


class Faults(list[Fault]):
    """The faults of a grid, collected so that all are reported at once.

    Attributes:
        num_added: How often a fault was added, counting those that were there already.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_added = 0
        self._keys: set[object] = set()

    def add(self, message: str, *, line: int | None = None, path: str = "", key: object = None) -> None:
        """Add a fault, unless one with the same key is there."""
        fault = Fault(line=line, path=path, message=message)
        self.num_added += 1
        if (key or fault) not in self._keys:
            self._keys.add(key or fault)
            self.append(fault)

    def raise_if_any(self, source: str) -> None:
        """Raise all faults, in the order of their lines.

        Raises:
            GridError: There are some.
        """
        if self:
            raise GridError(source, sorted(self, key=lambda fault: fault.line or 10**9))


@dataclass(slots=True, eq=False)
class YamlNode:
    """A place in a grid and the value that is written there; as a string, the value as a message names it.

    Attributes:
        value: A scalar in Python's types, a list of nodes, or a mapping of text keys to nodes.
        path: The path from the top, such as ``models[1].rank``.
        faults: Collects what is wrong with the grid.
        line: From 1; that of the mapping around it if nothing is written; None for a value from the command line.
        text: A scalar as it is written, without quotes.
        key_lines: The line of each key of a mapping.
        is_written: Whether anything is written here.
        origin: What all copies of a value have in common. A fault of a value that is used in several places (an
            alias, a ``--set`` for all entries) is reported once.
    """

    value: Scalar | list[YamlNode] | dict[str, YamlNode] | None
    path: str
    faults: Faults
    line: int | None = None
    text: str = ""
    key_lines: dict[str, int | None] = field(default_factory=dict)
    is_written: bool = True
    origin: object = field(default_factory=object)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.value, list)

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self.value, dict)

    @property
    def items(self) -> list[YamlNode]:
        """The items of a list; none for any other value."""
        return self.value if isinstance(self.value, list) else []

    @property
    def entries(self) -> dict[str, YamlNode]:
        """The values of a mapping by key; none for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    def key(self, name: str) -> YamlNode:
        """Return the value of a key, written or not."""
        if name in self.entries:
            return self.entries[name]
        return YamlNode(None, self.child_path(name), self.faults, self.line, is_written=False, origin=self.origin)

    def child_path(self, key: object) -> str:
        """Return the path of a key of a mapping, or of an index of a list."""
        if isinstance(key, int):
            return f"{self.path}[{key}]"
        return f"{self.path}.{key}" if self.path else str(key)

    def copy(self, path: str, faults: Faults) -> YamlNode:
        """Return the same value at another path."""
        copied = dataclasses.replace(self, path=path, faults=faults, key_lines=dict(self.key_lines))
        if isinstance(self.value, list):
            copied.value = [item.copy(copied.child_path(index), faults) for index, item in enumerate(self.value)]
        elif isinstance(self.value, dict):
            copied.value = {key: node.copy(copied.child_path(key), faults) for key, node in self.value.items()}
        return copied

    def put(self, key: str | int, node: YamlNode) -> None:
        """Set an entry of this mapping, or an item of this list, to a copy of a node."""
        copied = node.copy(self.child_path(key), self.faults)
        if isinstance(key, int):
            self.items[key] = copied
        else:
            self.entries[key] = copied
            self.key_lines[key] = node.line

    def replaced(self, entries: Mapping[str, YamlNode]) -> YamlNode:
        """Return the mapping with other entries, which stay where they are."""
        return dataclasses.replace(self, value=dict(entries))

    def to_plain(self) -> object:
        """Return the value in Python's own lists and dicts."""
        if isinstance(self.value, list):
            return [item.to_plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: node.to_plain() for key, node in self.value.items()}
        return self.value

    def fault(self, message: str, *, line: int | None = None, once: bool = False) -> None:
        """Add a fault of this value.

        Args:
            message: What was found and what is accepted.
            line: Its line, if that is not the line of the value.
            once: Whether one fault is enough for the value, even if another message could be added.
        """
        key = (self.origin, self.path.rpartition(".")[2], None if once else message)
        self.faults.add(message, line=line or self.line, path=self.path, key=key)

    def refuse(self, accepted: str, hint: str = "") -> None:
        """Add a fault that says what was found here and what is accepted."""
        self.fault(f"{f'found {self}{hint}' if self.is_written else 'missing'}; accepted: {accepted}")

    def listed(self, accepted: str, *, may_be_empty: bool = False) -> list[YamlNode]:
        """Return the items of a list; add a fault for any other value."""
        if self.is_written and not (self.is_list and (may_be_empty or self.items)):
            self.refuse(accepted)
        return self.items

    def check_mapping(self) -> bool:
        """Return whether a mapping or nothing is written here; add a fault for any other value."""
        if self.is_written and not self.is_mapping:
            self.refuse("a mapping, such as {key: value}")
        return self.is_mapping or not self.is_written

    def check_keys(self, names: Sequence[str], remarks: Mapping[str, str] | None = None) -> None:
        """Add a fault for each key that is not one of the names; ``remarks`` say more of some keys."""
        for key, node in self.entries.items():
            if key not in names:
                message = unknown_name("key", key, names, (remarks or {}).get(key, ""))
                node.fault(message, line=self.key_lines[key])

    def is_misspelt(self, name: str, names: Collection[str]) -> bool:
        """Return whether a key that is not one of the names seems to mean ``name``, which then is not missing."""
        return any(closest(key, names) == name for key in self.entries if key not in names)

    def __str__(self) -> str:
        match self.value:
            case None:
                return "null" if self.text else "nothing"
            case list(items):
                return f"a list of {len(items)}" if items else "an empty list"
            case dict(entries):
                return "a mapping" if entries else "an empty mapping"
            case str(text):
                return f'"{shorten(text, 40)}"'
            case _:
                return shorten(self.text, 40)


def shorten(text: str, longest: int = 60) -> str:
    """Return the text on one line, cut if it is long."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def unknown_name(what: str, name: str, names: Collection[str], remark: str = "") -> str:
    """Return the message for an unknown name, with a remark on it or the nearest known name."""
    return f'unknown {what} "{shorten(name)}"{remark or nearest(name, names)}; accepted: {", ".join(names)}'
