"""What a YAML text holds: plain values, each with its line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from bilin.fields import Scalar
from bilin.orchestrator.grid.yaml.scalars import LARGEST

_LONGEST_TEXT = 40


@dataclass(frozen=True, slots=True, eq=False)
class ScalarNode:
    """A number, a text, true, false or null.

    Attributes:
        line: From 1; None for a value from the command line.
        value: In Python's types.
        text: As it was written, without quotes.
    """

    line: int | None
    value: Scalar | None
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class ListNode:
    """A list; ``line`` is None for one from the command line."""

    line: int | None
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MappingNode:
    """A mapping with text keys; ``key_lines`` holds the line of each key."""

    line: int | None
    entries: Mapping[str, Node]
    key_lines: Mapping[str, int | None]

    def with_entry(self, key: str, node: Node) -> MappingNode:
        """This mapping with a value set."""
        lines = {**self.key_lines, key: node.line}
        return dataclasses.replace(self, entries={**self.entries, key: node}, key_lines=lines)


Node = ScalarNode | ListNode | MappingNode


def plain(node: Node) -> object:
    """The node's value in Python's own lists and dicts."""
    match node:
        case ScalarNode():
            return node.value
        case ListNode():
            return [plain(item) for item in node.items]
        case MappingNode():
            return {key: plain(item) for key, item in node.entries.items()}


def from_plain(value: object) -> Node:
    """A node without lines, from Python's own lists and dicts."""
    if isinstance(value, list | tuple):
        return ListNode(None, tuple(from_plain(item) for item in value))
    if isinstance(value, dict):
        return MappingNode(None, {key: from_plain(item) for key, item in value.items()}, dict.fromkeys(value))
    if isinstance(value, int) and abs(value) > LARGEST:
        raise TypeError(f"{value!r} is no whole number from -{LARGEST} to {LARGEST}")
    if value is None or isinstance(value, bool | int | float | str):
        return ScalarNode(None, value, str(value))
    raise TypeError(f"{value!r} has no place in a grid")


def describe(node: Node) -> str:
    """What stands there, in words, for a message."""
    match node:
        case ScalarNode(value=None):
            return "null" if node.text else "nothing"
        case ScalarNode(value=str(text)):
            return f'"{_cut(text)}"'
        case ScalarNode():
            return _cut(node.text)
        case ListNode():
            return f"a list of {len(node.items)}" if node.items else "an empty list"
        case MappingNode():
            return "a mapping" if node.entries else "an empty mapping"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
